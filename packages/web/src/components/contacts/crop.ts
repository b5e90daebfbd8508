/** What of a picture is shown: a square, by its middle in pixels of the picture, and how much larger than the whole shorter side. */
export interface Crop {
  x: number;
  y: number;
  zoom: number;
}

interface Size {
  width: number;
  height: number;
}

export const zoomMost = 8;

/** All of the shorter side, from the middle. */
export const wholeOf = ({ width, height }: Size): Crop => ({ x: width / 2, y: height / 2, zoom: 1 });

/** Pixels of the picture that one side of the square takes. */
export const sideOf = ({ width, height }: Size, { zoom }: Crop): number => Math.min(width, height) / zoom;

/** Moved by so many pixels of the picture, and made so many times larger; never past its edges. */
export function changed(picture: Size, crop: Crop, { x = 0, y = 0, times = 1 }: { x?: number; y?: number; times?: number }): Crop {
  const zoom = clamp(crop.zoom * times, 1, zoomMost);
  const half = sideOf(picture, { ...crop, zoom }) / 2;
  return { x: clamp(crop.x + x, half, picture.width - half), y: clamp(crop.y + y, half, picture.height - half), zoom };
}

const clamp = (value: number, least: number, most: number): number => Math.min(Math.max(value, least), most);
