/** Drawn on a 20 × 20 grid with a 1.5 stroke. A string is a path, `[cx, cy, r]` a circle, `{x, y, w, h, r}` a rounded rectangle. */
type Shape = string | [number, number, number] | { x: number; y: number; w: number; h: number; r: number };

export interface IconShapes {
  outline: Shape[];
  solid?: Shape[];
}

const outline = (...shapes: Shape[]): IconShapes => ({ outline: shapes });

export const icons = {
  chats: outline('M3.2 9.2c0-3.1 3-5.4 6.8-5.4s6.8 2.3 6.8 5.4-3 5.4-6.8 5.4c-.9 0-1.7-.1-2.5-.35L4.3 15.9l.6-2.7C3.8 12.2 3.2 10.8 3.2 9.2Z'),
  people: outline([7.6, 7, 2.9], 'M2.4 16c.3-2.9 2.4-4.7 5.2-4.7s4.9 1.8 5.2 4.7', 'M12.8 4.4a2.7 2.7 0 0 1 0 5.2M14.6 11.9c1.7.7 2.8 2.1 3 4.1'),
  rooms: outline('M5 16.4V5.2c0-.9.7-1.6 1.6-1.6h6.8c.9 0 1.6.7 1.6 1.6v11.2M3 16.4h14M12.2 10v.4'),
  settings: outline('M3 6h7M14 6h3M3 14h3M10 14h7', [12, 6, 2], [8, 14, 2]),
  search: outline([9, 9, 5.2], 'm13 13 3.6 3.6'),
  plus: outline('M10 4v12M4 10h12'),
  compose: outline('M16.5 10.5v4.4c0 .9-.7 1.6-1.6 1.6H5.1c-.9 0-1.6-.7-1.6-1.6V5.1c0-.9.7-1.6 1.6-1.6h4.4', 'm8 12 .5-2.5 6.3-6.3 2 2-6.3 6.3L8 12Z'),
  pencil: outline('m4 16 .7-3.4 8.6-8.6a1.2 1.2 0 0 1 1.7 0l1 1a1.2 1.2 0 0 1 0 1.7l-8.6 8.6L4 16Z'),
  more: {
    outline: [],
    solid: [
      [4.5, 10, 1.4],
      [10, 10, 1.4],
      [15.5, 10, 1.4],
    ],
  },
  panel: outline({ x: 2.8, y: 4, w: 14.4, h: 12, r: 2 }, 'M12.2 4v12'),
  back: outline('m12 4.5-5.5 5.5 5.5 5.5'),
  next: outline('m8 4.5 5.5 5.5L8 15.5'),
  down: outline('M10 4v11.5M5 10.8l5 5 5-5'),
  smile: outline([10, 10, 6.8], 'M7 11.8c.7 1.1 1.7 1.7 3 1.7s2.3-.6 3-1.7M7.6 8v.3M12.4 8v.3'),
  send: outline('M10 16V4.6M5.2 9.2 10 4.4l4.8 4.8'),
  undo: outline('M8 5 3.6 9.2 8 13.4', 'M3.8 9.2h6.4c3.4 0 6 2 6 5.6'),
  pin: outline('M7 3.4h6M7.8 3.4v5L5.4 11.6h9.2L12.2 8.4v-5M10 11.6v5'),
  mute: outline('M6.1 8.2c.1-2.5 1.7-4.3 3.9-4.3 2.3 0 3.9 1.8 3.9 4.4 0 3 1.3 4.4 1.3 4.4H8', 'M5.8 10.8c-.3 1.2-1 1.9-1 1.9M8.6 15.3c.3.6.8.9 1.4.9s1.1-.3 1.4-.9M3.5 3.5l13 13'),
  bell: outline('M4.8 12.7s1.3-1.4 1.3-4.4c0-2.6 1.6-4.4 3.9-4.4s3.9 1.8 3.9 4.4c0 3 1.3 4.4 1.3 4.4H4.8ZM8.6 15.3c.3.6.8.9 1.4.9s1.1-.3 1.4-.9'),
  clock: outline([10, 10, 5.6], 'M10 6.8V10l2.2 1.4'),
  tick: outline('m5 10.6 3.2 3.2 6.8-7.4'),
  ticks: outline('m2 10.6 3.2 3.2L12 6.4M9.8 13.6l.2.2 6.8-7.4'),
  alert: outline([10, 10, 6.8], 'M10 6.4v4.4M10 13.4v.2'),
  close: outline('m5.2 5.2 9.6 9.6M14.8 5.2l-9.6 9.6'),
  copy: outline({ x: 7, y: 7, w: 9.6, h: 9.6, r: 2 }, 'M13 7V5.4c0-1.1-.9-2-2-2H5.4c-1.1 0-2 .9-2 2V11c0 1.1.9 2 2 2H7'),
  link: outline('M8.6 11.4a3 3 0 0 0 4.3 0l2.6-2.6a3 3 0 0 0-4.3-4.3l-.9.9', 'M11.4 8.6a3 3 0 0 0-4.3 0l-2.6 2.6a3 3 0 0 0 4.3 4.3l.9-.9'),
  phone: outline({ x: 6, y: 2.8, w: 8, h: 14.4, r: 1.8 }, 'M9.2 14.8h1.6'),
  laptop: outline({ x: 4, y: 4.6, w: 12, h: 8.4, r: 1.4 }, 'M2.4 15.6h15.2'),
  user: outline([10, 7, 3.2], 'M4 16.4c.4-3.2 2.8-5.2 6-5.2s5.6 2 6 5.2'),
  eye: outline('M2.6 10S5.2 5.2 10 5.2 17.4 10 17.4 10 14.8 14.8 10 14.8 2.6 10 2.6 10Z', [10, 10, 2.2]),
  eyeOff: outline('M2.6 10S5.2 5.2 10 5.2 17.4 10 17.4 10 14.8 14.8 10 14.8 2.6 10 2.6 10Z', [10, 10, 2.2], 'M3.5 3.5l13 13'),
  text: outline('M4.4 6V4.4h11.2V6M10 4.4v11.2M7.8 15.6h4.4'),
  sun: outline([10, 10, 3.2], 'M10 2.8v1.6M10 15.6v1.6M2.8 10h1.6M15.6 10h1.6M4.9 4.9l1.1 1.1M14 14l1.1 1.1M4.9 15.1 6 14M14 6l1.1-1.1'),
  globe: outline([10, 10, 6.8], 'M3.4 10h13.2M10 3.2c2 2 2.8 4.3 2.8 6.8s-.8 4.8-2.8 6.8C8 14.8 7.2 12.5 7.2 10S8 5.2 10 3.2Z'),
  info: outline([10, 10, 6.8], 'M10 9.2v4.2M10 6.6v.2'),
  lock: outline({ x: 4.4, y: 9, w: 11.2, h: 7.6, r: 1.8 }, 'M6.8 9V6.6a3.2 3.2 0 0 1 6.4 0V9'),
  block: outline([10, 10, 6.8], 'm5.3 5.3 9.4 9.4'),
  shuffle: outline('M3 6h2.6c4 0 5 8 9 8H17M3 14h2.6c1.4 0 2.4-1 3.2-2.3M11.3 8.2C12.1 7 13.1 6 14.6 6H17M14.8 3.8 17 6l-2.2 2.2M14.8 11.8 17 14l-2.2 2.2'),
  leave: outline('M8.4 3.6H5.2c-.9 0-1.6.7-1.6 1.6v9.6c0 .9.7 1.6 1.6 1.6h3.2M8 10h8.6M13.4 6.6l3.4 3.4-3.4 3.4'),
  play: { outline: [], solid: ['M7 4.8v10.4l8.4-5.2L7 4.8Z'] },
  image: outline({ x: 3, y: 4, w: 14, h: 12, r: 2 }, [7.2, 8.2, 1.3], 'm3.4 14.6 4-3.6 2.6 2.2 3-2.9 3.8 3.5'),
  video: outline({ x: 2.8, y: 5, w: 10, h: 10, r: 2 }, 'm12.8 9 4.4-2.6v7.2L12.8 11'),
  sound: outline('M7.4 14.2V5.4l8-1.6v8.8', [5.4, 14.2, 2], [13.4, 12.6, 2]),
  file: outline('M5.2 3.4h6l3.6 3.6v8c0 .9-.7 1.6-1.6 1.6H5.2V3.4ZM11 3.6v3.6h3.6'),
  files: outline('M2.9 6.2c0-.9.7-1.6 1.6-1.6h3.1l1.9 2h6c.9 0 1.6.7 1.6 1.6v6c0 .9-.7 1.6-1.6 1.6h-11c-.9 0-1.6-.7-1.6-1.6v-8Z'),
  mic: outline({ x: 7.4, y: 2.8, w: 5.2, h: 9, r: 2.6 }, 'M4.6 9.4c0 3 2.3 5.2 5.4 5.2s5.4-2.2 5.4-5.2M10 14.6v2.8'),
  download: outline('M10 3.4v9M6.2 9l3.8 3.8L13.8 9M3.8 16.4h12.4'),
  forward: outline('m12 5 4.4 4.2-4.4 4.2', 'M16.2 9.2H9.8c-3.4 0-6 2-6 5.6'),
} satisfies Record<string, IconShapes>;

export type IconName = keyof typeof icons;
