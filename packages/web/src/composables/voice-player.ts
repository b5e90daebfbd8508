import type { Client } from '@kith/client';
import type { Message } from '@kith/protocol';
import { computed, ref, shallowRef, watch } from 'vue';
import { isGone } from './file-problem.ts';
import { pageKeepers } from './page-keepers.ts';
import { shownFile } from './shown-file.ts';
import { clientNow, findClient } from './useClient.ts';

/** Something spoken: a message, or what is still on its way and has no id. */
export interface Spoken {
  url: string;
  durationMs: number;
  messageId?: string;
  conversationId?: string;
}

export const rates = [1, 1.5, 2] as const;
export type Rate = (typeof rates)[number];

// One player for the whole page: one thing is heard at a time, and it goes on while one reads elsewhere.

const rateKey = 'kith.voiceRate';
const rate = ref<Rate>(rates.find((one) => String(one) === localStorage.getItem(rateKey)) ?? 1);
const current = shallowRef<Spoken>();
const playing = ref(false);
/** Milliseconds from its beginning. */
const at = ref(0);
const problem = shallowRef<{ key: string; kind: 'failed' | 'gone' }>();
let audio: HTMLAudioElement | undefined;
pageKeepers.add(() => playing.value);

export const keyOf = ({ messageId, url }: Pick<Spoken, 'messageId' | 'url'>): string => messageId ?? url;

export const voicePlayer = {
  rate: computed(() => rate.value),
  /** What is played, or was when it was halted. */
  current: computed(() => current.value),
  playing: computed(() => playing.value),
  at: computed(() => at.value),
  problem: computed(() => problem.value),
  isCurrent: (spoken: Pick<Spoken, 'messageId' | 'url'>) => current.value !== undefined && keyOf(current.value) === keyOf(spoken),

  toggle(spoken: Spoken) {
    if (this.isCurrent(spoken) && playing.value) audio?.pause();
    else void play(spoken);
  },
  pause: () => audio?.pause(),
  stop,

  /** @param ms  From its beginning. What is not played yet starts there when it is. */
  seek(spoken: Spoken, ms: number) {
    if (!this.isCurrent(spoken)) load(spoken);
    at.value = Math.min(Math.max(0, ms), spoken.durationMs);
    if (audio && audio.readyState > 0) audio.currentTime = at.value / 1000;
  },
  nextRate() {
    rate.value = rates[(rates.indexOf(rate.value) + 1) % rates.length]!;
    localStorage.setItem(rateKey, String(rate.value));
    if (audio) audio.playbackRate = audio.defaultPlaybackRate = rate.value;
  },
  /** What was on its way has arrived: what is heard is the same. */
  arrived(before: Spoken, now: Spoken) {
    if (this.isCurrent(before)) current.value = now;
  },
};

function element(): HTMLAudioElement {
  if (audio) return audio;
  audio = new Audio();
  audio.addEventListener('playing', onPlaying);
  audio.addEventListener('pause', () => (playing.value = false));
  audio.addEventListener('ended', onEnded);
  audio.addEventListener('error', () => void onError());
  audio.addEventListener('loadedmetadata', () => at.value > 0 && (audio!.currentTime = at.value / 1000));
  // Whatever else makes itself heard.
  document.addEventListener('play', () => audio!.pause(), true);
  return audio;
}

function load(spoken: Spoken): void {
  const player = element();
  player.pause();
  current.value = spoken;
  at.value = 0;
  problem.value = undefined;
  player.src = spoken.url;
  player.playbackRate = player.defaultPlaybackRate = rate.value;
}

async function play(spoken: Spoken): Promise<void> {
  if (!voicePlayer.isCurrent(spoken) || problem.value) load(spoken);
  for (const other of document.querySelectorAll<HTMLMediaElement>('audio, video')) other.pause();
  // What failed is told by its own event; that another was begun meanwhile is no failure.
  await element()
    .play()
    .catch(() => undefined);
}

function stop(): void {
  if (!current.value) return;
  current.value = undefined;
  playing.value = false;
  at.value = 0;
  problem.value = undefined;
  audio?.pause();
  audio?.removeAttribute('src');
}

function onPlaying(): void {
  playing.value = true;
  requestAnimationFrame(follow);
  const message = current.value?.messageId === undefined ? undefined : findClient()?.store.get('message', current.value.messageId);
  if (message) findClient()?.markHeard(message);
}

function follow(): void {
  if (!playing.value || !audio || !current.value) return;
  at.value = Math.min(audio.currentTime * 1000, current.value.durationMs);
  requestAnimationFrame(follow);
}

function onEnded(): void {
  const client = findClient();
  const next = client && current.value?.messageId !== undefined ? nextUnheard(client, current.value.messageId) : undefined;
  if (next) void play(next);
  else stop();
}

async function onError(): Promise<void> {
  const failed = current.value;
  if (!failed || !audio?.error) return;
  playing.value = false;
  problem.value = { key: keyOf(failed), kind: 'failed' };
  if (failed.messageId !== undefined && (await isGone(failed.url)) && voicePlayer.isCurrent(failed)) problem.value = { key: keyOf(failed), kind: 'gone' };
}

/** What a message has to be heard; undefined where it has nothing. */
export function spokenIn(message: Message): Spoken | undefined {
  if (message.type !== 'voice' || !message.file) return undefined;
  return { url: shownFile(message.type, message.file).url, durationMs: message.file.durationMs ?? 0, messageId: message.id, conversationId: message.conversationId };
}

/** The next of the same conversation that this person has not heard. */
function nextUnheard(client: Client, messageId: string): Spoken | undefined {
  const heard = client.store.get('message', messageId);
  if (!heard) return undefined;
  const later = [...client.store.messages(heard.conversationId)].filter(
    (message) => message.seq > heard.seq && message.type === 'voice' && message.file && !client.store.get('hidden', message.id) && !client.isHeard(message),
  );
  const next = later.sort((a, b) => a.seq - b.seq)[0];
  return next && spokenIn(next);
}

/** Recalled, deleted for oneself, or of a conversation that one is no longer in: it is not to be heard to the end. */
function isOver(client: Client, { messageId, conversationId }: Spoken): boolean {
  if (messageId === undefined || conversationId === undefined) return false;
  return (
    client.conversation(conversationId) === undefined || client.store.get('message', messageId)?.deletedAt !== undefined || client.store.get('hidden', messageId) !== undefined
  );
}

watch(
  clientNow,
  (client, _, onCleanup) => {
    stop();
    if (client) onCleanup(client.store.watch(() => current.value && isOver(client, current.value) && stop()));
  },
  { immediate: true },
);
