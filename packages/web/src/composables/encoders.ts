import { encodeWav } from './wav.ts';

/** What makes a file of what a microphone hears. */
export interface Encoder {
  /** The media type, and how a name of it ends. */
  type: string;
  ending: string;
  pause(): void;
  resume(): void;
  /** All until now, while it is paused or after it has stopped. */
  bytes(): Promise<Blob>;
  /** Nothing more comes. */
  stop(): Promise<void>;
}

/** In the order of preference: Opus, and where a browser cannot, what it can. */
const containers = [
  { mimeType: 'audio/webm;codecs=opus', ending: 'webm' },
  { mimeType: 'audio/ogg;codecs=opus', ending: 'ogg' },
  { mimeType: 'audio/mp4;codecs=mp4a.40.2', ending: 'm4a' },
  { mimeType: 'audio/mp4', ending: 'm4a' },
] as const;

/** Bits a second: clear speech, and a minute of it is a quarter of a megabyte. */
const bitsPerSecond = 32_000;

/** @param source  The same sound, for who has to take it sample by sample. */
export function startEncoder(stream: MediaStream, source: MediaStreamAudioSourceNode): Encoder {
  const recorder = (globalThis as { MediaRecorder?: typeof MediaRecorder }).MediaRecorder;
  const container = recorder && containers.find(({ mimeType }) => recorder.isTypeSupported(mimeType));
  return container ? recorded(new MediaRecorder(stream, { ...container, audioBitsPerSecond: bitsPerSecond }), container) : sampled(source);
}

function recorded(recorder: MediaRecorder, { mimeType, ending }: (typeof containers)[number]): Encoder {
  const parts: Blob[] = [];
  recorder.addEventListener('dataavailable', ({ data }) => parts.push(data));
  const stopped = new Promise<void>((resolve) => recorder.addEventListener('stop', () => resolve(), { once: true }));
  // In pieces: what was said until a browser fails is there.
  recorder.start(1_000);
  const type = mimeType.split(';', 1)[0]!;
  return {
    type,
    ending,
    pause: () => recorder.state === 'recording' && recorder.pause(),
    resume: () => recorder.state === 'paused' && recorder.resume(),
    async bytes() {
      if (recorder.state !== 'inactive') {
        const came = new Promise((resolve) => recorder.addEventListener('dataavailable', resolve, { once: true }));
        recorder.requestData();
        await Promise.race([came, stopped]);
      }
      return new Blob(parts, { type });
    },
    async stop() {
      if (recorder.state !== 'inactive') recorder.stop();
      await stopped;
    },
  };
}

/** The old way to hear every sample, which the browsers that need it all know. */
function sampled(source: MediaStreamAudioSourceNode): Encoder {
  const { context } = source;
  const parts: Float32Array[] = [];
  let on = true;
  const node = context.createScriptProcessor(4_096, 1, 1);
  node.addEventListener('audioprocess', ({ inputBuffer }) => on && parts.push(inputBuffer.getChannelData(0).slice()));
  source.connect(node);
  // It runs only where it leads somewhere; it says nothing there.
  node.connect(context.destination);
  return {
    type: 'audio/wav',
    ending: 'wav',
    pause: () => (on = false),
    resume: () => (on = true),
    bytes: () => Promise.resolve(new Blob([encodeWav(parts, context.sampleRate)], { type: 'audio/wav' })),
    stop: () => {
      on = false;
      node.disconnect();
      return Promise.resolve();
    },
  };
}
