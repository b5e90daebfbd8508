/** How a picture lies in its stage: `x` and `y` are pixels from the middle, `scale` 1 fits. */
export interface View {
  scale: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

export const fitted: View = { scale: 1, x: 0, y: 0 };
/** Larger than that are only pixels. */
export const mostScale = 8;

/** How large a picture is in a stage: all of it is seen, and it is not blown up. */
export function fit(picture: Size, stage: Size): Size {
  const scale = Math.min(1, stage.width / picture.width, stage.height / picture.height);
  return { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) };
}

/** Its edges are not drawn away from those of the stage; what is smaller than the stage stays in the middle. */
function within({ scale, x, y }: View, size: Size, stage: Size): View {
  const most = (length: number, room: number) => Math.max(0, (length * scale - room) / 2);
  const [right, down] = [most(size.width, stage.width), most(size.height, stage.height)];
  return { scale, x: Math.min(right, Math.max(-right, x)), y: Math.min(down, Math.max(-down, y)) };
}

/** @param at  What stays where it is, in pixels from the middle of the stage. */
export function zoomed(view: View, to: number, at: { x: number; y: number }, size: Size, stage: Size): View {
  const scale = Math.min(mostScale, Math.max(1, to));
  const by = scale / view.scale;
  return within({ scale, x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by }, size, stage);
}

export const panned = (view: View, x: number, y: number, size: Size, stage: Size): View => within({ ...view, x: view.x + x, y: view.y + y }, size, stage);
