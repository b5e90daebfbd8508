/** What a browser can tell of a file before it is sent, so that nothing moves when it arrives. */
export interface Measured {
  /** It is a picture or a video, and this browser can show it. */
  shown: boolean;
  width?: number;
  height?: number;
  durationMs?: number;
  /** A picture out of a video. */
  poster?: Blob;
}

/** Milliseconds after which a file that the browser chews on is sent without. */
const patienceMs = 4_000;
/** Pixels of the longer side of a poster. */
const posterSide = 1_280;

/** @param url  An object URL of it. */
export async function measureFile(type: string, url: string): Promise<Measured> {
  const work = type.startsWith('image/') ? measurePicture(url) : type.startsWith('video/') ? measureVideo(url) : type.startsWith('audio/') ? measureSound(url) : undefined;
  if (!work) return { shown: false };
  const late = new Promise<Measured>((resolve) => setTimeout(resolve, patienceMs, { shown: false }));
  return Promise.race([work.catch(() => ({ shown: false })), late]);
}

async function measurePicture(url: string): Promise<Measured> {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  return { shown: true, width: picture.naturalWidth, height: picture.naturalHeight };
}

async function measureSound(url: string): Promise<Measured> {
  const sound = new Audio();
  await loaded(sound, url, 'loadedmetadata');
  return { shown: false, ...lengthOf(sound) };
}

async function measureVideo(url: string): Promise<Measured> {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  await loaded(video, url, 'loadeddata');
  const { videoWidth: width, videoHeight: height } = video;
  if (width === 0) return { shown: false, ...lengthOf(video) };
  const length = lengthOf(video);
  // The very first picture of many videos is black.
  if (length.durationMs !== undefined && length.durationMs > 2_000) {
    const sought = new Promise((resolve) => video.addEventListener('seeked', resolve, { once: true }));
    video.currentTime = 1;
    await sought;
  }
  const poster = await drawn(video, width, height).catch(() => undefined);
  video.removeAttribute('src');
  return { shown: true, width, height, ...length, ...(poster && { poster }) };
}

function loaded(element: HTMLMediaElement, url: string, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    element.addEventListener(event, () => resolve(), { once: true });
    element.addEventListener('error', () => reject(new Error('This browser cannot play it.')), { once: true });
    element.preload = event === 'loadeddata' ? 'auto' : 'metadata';
    element.src = url;
  });
}

/** What was recorded as it came has no length in its head. */
const lengthOf = ({ duration }: HTMLMediaElement): { durationMs?: number } => (Number.isFinite(duration) ? { durationMs: Math.round(duration * 1_000) } : {});

async function drawn(video: HTMLVideoElement, width: number, height: number): Promise<Blob | undefined> {
  const scale = Math.min(1, posterSide / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext('2d')!.drawImage(video, 0, 0, canvas.width, canvas.height);
  return (await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.82))) ?? undefined;
}
