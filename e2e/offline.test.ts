import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Site, bubble, say, texts, until } from './people.ts';

let site: Site;

beforeAll(async () => {
  site = await Site.open({ config: { offlineGraceMs: 0 } });
});
afterAll(() => site?.close());
afterEach(() => site.closePages());

/** Runs in the page: does the service worker have the page? */
const workerHasPage = (): boolean => navigator.serviceWorker.controller !== null;

describe('the program', () => {
  test('[OF1] once opened, the program opens without the server, at any of its addresses', async () => {
    const [ada, noor] = await site.friends();
    await say(ada, 'kept on this device');
    await bubble(ada, 'kept on this device')
      .getByRole('img', { name: /sent|delivered|read/ })
      .waitFor();
    await until(ada.page, workerHasPage);
    const address = ada.page.url();
    await site.server.running.close();
    try {
      await ada.page.goto(address);
      await bubble(ada, 'kept on this device').waitFor();
      expect(await texts(ada, 1)).toEqual(['kept on this device']);
      await ada.page.goto('/contacts');
      await ada.page.getByRole('link', { name: noor.name }).waitFor();
      await ada.page.goto('/settings/profile');
      await ada.page.getByRole('heading', { name: 'Profile' }).first().waitFor();
    } finally {
      await site.server.restart();
    }
  });
});

test('[OF40] no page broke the content security policy, threw, or asked another origin for anything', () => {
  expect(site.complaints).toEqual([]);
});
