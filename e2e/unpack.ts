import fs from 'node:fs';

/** Fills a folder under another name and moves it into place, so that other processes see all of it or nothing. */
export async function makeAtOnce(folder: string, fill: (unfinished: string) => Promise<void>): Promise<void> {
  const unfinished = `${folder}.${process.pid}`;
  fs.mkdirSync(unfinished, { recursive: true });
  try {
    await fill(unfinished);
    fs.renameSync(unfinished, folder);
  } catch (error) {
    fs.rmSync(unfinished, { recursive: true, force: true });
    // Another process was first: its folder is as good as ours.
    if (!fs.existsSync(folder)) throw error;
  }
}
