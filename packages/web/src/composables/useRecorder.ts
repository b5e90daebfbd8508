import { limits } from '@kith/protocol';
import { type Ref, computed, onScopeDispose, ref, shallowRef, watch } from 'vue';
import { t } from '../i18n.ts';
import { type Encoder, startEncoder } from './encoders.ts';
import { pageKeepers } from './page-keepers.ts';
import { clientNow } from './useClient.ts';
import { useToast } from './useToast.ts';
import { voicePlayer } from './voice-player.ts';
import { barsOf } from './wave-bars.ts';

/** Something that was said and not sent. */
export interface Recording {
  bytes: Blob;
  name: string;
  type: string;
  durationMs: number;
  waveform: number[];
}

/** idle: nothing. asking: the browser asks for the microphone. paused: it can go on. done: it cannot. */
export type RecorderState = 'idle' | 'asking' | 'recording' | 'paused' | 'done';
/** Why nothing can be recorded. */
export type RecorderProblem = 'insecure' | 'refused' | 'missing' | 'busy' | 'failed';

/** Milliseconds between two looks at how loud it is. */
const lookMs = 50;
/** Of what was heard last, so many are drawn. */
const recentLooks = 40;

// What was said in a conversation that one has left for another waits there. It is gone with the page, which asks before.
const left = new Map<string, Promise<Recording | undefined>>();
watch(clientNow, () => left.clear());
pageKeepers.add(() => left.size > 0);
addEventListener('beforeunload', (event) => left.size > 0 && event.preventDefault());

interface Taking {
  stream: MediaStream;
  context: AudioContext;
  encoder: Encoder;
  levels: number[];
  timer: ReturnType<typeof setInterval>;
}

/** The microphone, for one conversation. */
export function useRecorder(conversationId: string) {
  const state = ref<RecorderState>('idle');
  const problem = ref<RecorderProblem>();
  /** Milliseconds that were recorded. */
  const elapsed = ref(0);
  /** How loud it was just now, as bars. */
  const recent = ref<number[]>([]);
  /** What there is while it is not being recorded. */
  const recording = shallowRef<Recording>();
  let taking: Taking | undefined;
  /** What was begun before does not come in after it was given up. */
  let turn = 0;
  let since = 0;
  let before = 0;

  const now = () => before + (state.value === 'recording' ? performance.now() - since : 0);

  async function start(): Promise<void> {
    if (state.value !== 'idle') return;
    problem.value = undefined;
    const media = navigator.mediaDevices as MediaDevices | undefined;
    if (!media?.getUserMedia) {
      problem.value = isSecureContext ? 'missing' : 'insecure';
      return;
    }
    state.value = 'asking';
    const mine = ++turn;
    try {
      const stream = await media.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
      if (mine !== turn) return close(stream);
      voicePlayer.pause();
      const took = await take(stream);
      if (mine !== turn) return end(took);
      taking = took;
      begin();
    } catch (error) {
      if (mine !== turn) return;
      state.value = 'idle';
      problem.value = problemOf(error);
    }
  }

  async function take(stream: MediaStream): Promise<Taking> {
    const context = new AudioContext();
    if (context.state !== 'running') await context.resume();
    const source = context.createMediaStreamSource(stream);
    const analyser = context.createAnalyser();
    source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const levels: number[] = [];
    const look = () => {
      if (state.value !== 'recording') return;
      elapsed.value = now();
      analyser.getFloatTimeDomainData(samples);
      const level = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
      // A page that nobody looks at looks less often; the bars stand for the same time all the same.
      for (let count = Math.floor(elapsed.value / lookMs) - levels.length; count > 0; count--) levels.push(level);
      recent.value = levels.slice(-recentLooks).map(loudness);
      if (elapsed.value >= limits.voiceMs - lookMs) void finish();
    };
    // A microphone that is pulled out.
    for (const track of stream.getAudioTracks()) track.addEventListener('ended', () => taking?.stream === stream && void finish());
    return { stream, context, levels, encoder: startEncoder(stream, source), timer: setInterval(look, lookMs) };
  }

  function begin() {
    since = performance.now();
    state.value = 'recording';
    recording.value = undefined;
  }
  function halt(to: 'paused' | 'done') {
    before = now();
    elapsed.value = before;
    state.value = to;
  }

  async function pause(): Promise<void> {
    if (state.value !== 'recording' || !taking) return;
    const mine = turn;
    halt('paused');
    taking.encoder.pause();
    const made = await make(taking);
    if (mine === turn && (state.value as RecorderState) === 'paused') recording.value = made;
  }
  function resume() {
    if (state.value !== 'paused' || !taking) return;
    voicePlayer.stop();
    taking.encoder.resume();
    begin();
  }

  /** Ends it. @returns What was said; undefined: nothing. */
  async function finish(): Promise<Recording | undefined> {
    if (state.value === 'done') return recording.value;
    if ((state.value !== 'recording' && state.value !== 'paused') || !taking) {
      cancel();
      return undefined;
    }
    halt('done');
    const mine = turn;
    const ending = taking;
    await ending.encoder.stop();
    const made = await make(ending);
    end(ending);
    if (mine === turn) recording.value = made;
    return made;
  }

  function cancel() {
    turn++;
    end();
    state.value = 'idle';
    recording.value = undefined;
    elapsed.value = before = 0;
    recent.value = [];
  }

  function end(ending = taking) {
    if (ending === taking) taking = undefined;
    if (!ending) return;
    clearInterval(ending.timer);
    close(ending.stream);
    void ending.encoder.stop();
    void ending.context.close().catch(() => undefined);
  }

  async function make({ encoder, levels }: Taking): Promise<Recording> {
    const durationMs = Math.min(limits.voiceMs, Math.max(1, Math.round(before)));
    const bytes = await encoder.bytes();
    return { bytes, type: encoder.type, name: `voice.${encoder.ending}`, durationMs, waveform: barsOf(levels, limits.waveformBars) };
  }

  // What was said before one went elsewhere.
  const waiting = left.get(conversationId);
  if (waiting) {
    const mine = ++turn;
    state.value = 'done';
    void waiting.then((found) => {
      if (mine !== turn) return;
      left.delete(conversationId);
      if (!found) return cancel();
      recording.value = found;
      elapsed.value = found.durationMs;
    });
  }

  const unsent = computed(() => state.value === 'recording' || state.value === 'paused' || state.value === 'done');
  const ask = (event: BeforeUnloadEvent) => unsent.value && event.preventDefault();
  const keeps = () => unsent.value;
  pageKeepers.add(keeps);
  addEventListener('beforeunload', ask);
  onScopeDispose(() => {
    pageKeepers.delete(keeps);
    removeEventListener('beforeunload', ask);
    if (!unsent.value || !clientNow.value) return cancel();
    left.set(conversationId, waiting && !recording.value ? waiting : finish());
    useToast().showToast(t('recorder.kept'));
  });

  return {
    state: state as Readonly<Ref<RecorderState>>,
    problem,
    elapsed: elapsed as Readonly<Ref<number>>,
    recent: recent as Readonly<Ref<number[]>>,
    recording: recording as Readonly<Ref<Recording | undefined>>,
    start,
    pause,
    resume,
    finish,
    cancel,
  };
}

/** Speech is seldom louder than a third of what could be; the ear hears by ratios. */
const loudness = (level: number) => Math.min(31, Math.round(Math.sqrt(level / 0.3) * 31));

const close = (stream: MediaStream) => stream.getTracks().forEach((track) => track.stop());

function problemOf(error: unknown): RecorderProblem {
  switch (error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'refused';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'missing';
    case 'NotReadableError':
    case 'AbortError':
      return 'busy';
    default:
      return 'failed';
  }
}
