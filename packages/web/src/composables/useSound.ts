import { chime } from './chime.ts';
import { kept } from './kept.ts';
import { takeDuty } from './tabs.ts';

/** Messages that come closer together than this are one burst, and one sound. Milliseconds. */
const burstMs = 3_000;

const on = kept('kith.sound', true);
let context: AudioContext | undefined;
let soundedAt = -Infinity;
let isOurs: (() => boolean) | undefined;

/** The sound of new messages on this device. One tab makes it for all: the first that the browser lets make any. */
export function useSound() {
  return {
    /** May there be one on this device? */
    sound: on,
    /** To be called once. Browsers let no page make sounds before somebody has touched it. */
    prepareSound() {
      const prepare = (): void => {
        isOurs ??= takeDuty('kith.sound');
      };
      if (touched()) prepare();
      else for (const event of ['pointerdown', 'keydown']) addEventListener(event, prepare, { once: true, capture: true });
    },
    /** Sounds for new messages: once per burst, and in one tab. */
    ring() {
      const now = performance.now();
      const again = now - soundedAt >= burstMs;
      soundedAt = now;
      if (again && on.value && isOurs?.()) void play();
    },
    /** Sounds now. @returns false where the browser would not. */
    play,
  };
}

const touched = (): boolean => navigator.userActivation?.hasBeenActive ?? true;

async function play(): Promise<boolean> {
  // A context that has to wait for a touch would sound then, long after the message.
  if (!touched()) return false;
  try {
    context ??= new AudioContext();
    if (context.state !== 'running') await context.resume();
    const samples = chime(context.sampleRate);
    const buffer = context.createBuffer(1, samples.length, context.sampleRate);
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    source.start();
    return true;
  } catch {
    return false;
  }
}
