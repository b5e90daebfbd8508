import { type RouteRecordRaw, createRouter, createWebHistory } from 'vue-router';
import ChatList from './views/ChatList.vue';
import ChatView from './views/ChatView.vue';
import NothingOpen from './views/NothingOpen.vue';
import ShellView from './views/ShellView.vue';
import { withItsTexts } from './i18n.ts';
import { ownPath } from './composables/own-path.ts';
import { signedInAs } from './composables/useSession.ts';

declare module 'vue-router' {
  interface RouteMeta {
    /** Can be seen by people who are not signed in. */
    gate?: boolean;
    /** On a narrow screen: the list or what is open beside it. */
    pane?: 'list' | 'main';
    tab?: 'chats' | 'contacts' | 'rooms' | 'settings';
  }
}

const gate = (path: string, name: string): RouteRecordRaw => ({ path, name, component: () => import('./views/GateView.vue'), meta: { gate: true } });

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    gate('/signin', 'signin'),
    gate('/setup', 'setup'),
    gate('/join', 'join'),
    { path: '/reset', name: 'reset', component: () => import('./views/ResetView.vue'), meta: { gate: true } },
    {
      path: '/',
      component: ShellView,
      children: [
        { path: '', name: 'chats', components: { list: ChatList, default: NothingOpen }, meta: { tab: 'chats', pane: 'list' } },
        {
          path: 'new',
          name: 'new',
          components: { list: () => import('./views/NewConversation.vue'), default: NothingOpen },
          meta: { tab: 'chats', pane: 'list' },
        },
        {
          path: 'c/:id',
          components: { list: ChatList, default: ChatView },
          meta: { tab: 'chats', pane: 'main' },
          children: [
            { path: '', name: 'chat', component: { render: () => null } },
            { path: 'details', name: 'details', component: () => import('./views/DetailsPane.vue') },
            { path: 'shared', name: 'shared', component: () => import('./views/SharedPane.vue') },
          ],
        },
        { path: 'contacts', name: 'contacts', components: { list: () => import('./views/ContactList.vue'), default: NothingOpen }, meta: { tab: 'contacts', pane: 'list' } },
        {
          path: 'contacts/:id',
          name: 'person',
          components: { list: () => import('./views/ContactList.vue'), default: () => import('./views/PersonView.vue') },
          meta: { tab: 'contacts', pane: 'main' },
        },
        { path: 'rooms', name: 'rooms', components: { list: () => import('./views/RoomList.vue'), default: NothingOpen }, meta: { tab: 'rooms', pane: 'list' } },
        {
          path: 'settings',
          name: 'settings',
          components: { list: () => import('./views/SettingsList.vue'), default: () => import('./views/SettingsProfile.vue') },
          meta: { tab: 'settings', pane: 'list' },
        },
        ...(
          [
            ['profile', () => import('./views/SettingsProfile.vue')],
            ['account', () => import('./views/SettingsAccount.vue')],
            ['security', () => import('./views/SettingsSecurity.vue')],
            ['privacy', () => import('./views/SettingsPrivacy.vue')],
            ['notifications', withItsTexts(() => import('./views/SettingsNotifications.vue'))],
            ['appearance', () => import('./views/SettingsAppearance.vue')],
            ['devices', () => import('./views/SettingsDevices.vue')],
            ['site', () => import('./views/SettingsSite.vue')],
            ['audit', withItsTexts(() => import('./views/SettingsAudit.vue'))],
            ['reports', () => import('./views/SettingsReports.vue')],
          ] as const
        ).map(([page, view]): RouteRecordRaw => ({
          path: `settings/${page}`,
          components: { list: () => import('./views/SettingsList.vue'), default: view },
          meta: { tab: 'settings', pane: 'main' },
        })),
      ],
    },
    { path: '/:rest(.*)*', redirect: '/' },
  ],
});

router.beforeEach((to) => {
  const signedIn = signedInAs() !== null;
  if (!signedIn && !to.meta.gate) return { name: 'signin', query: to.fullPath === '/' ? {} : { next: to.fullPath } };
  // A link to set up or to join is opened by somebody who has an account already.
  if (signedIn && to.meta.gate) return ownPath(to.query['next']);
  return true;
});
