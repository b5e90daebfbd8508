import fs from 'node:fs';
import path from 'node:path';
import { asyncapi } from './reference/asyncapi.ts';
import { methodsPage } from './reference/methods.ts';
import { openapi } from './reference/openapi.ts';

export const referenceFolder = path.resolve(import.meta.dirname, '../docs/reference');

/** The reference pages by file name, made from `packages/protocol`. */
export function referencePages(): Record<string, string> {
  return {
    'methods.md': methodsPage(),
    'openapi.json': `${JSON.stringify(openapi(), null, 2)}\n`,
    'asyncapi.json': `${JSON.stringify(asyncapi(), null, 2)}\n`,
  };
}

if (import.meta.main) {
  fs.mkdirSync(referenceFolder, { recursive: true });
  for (const [name, text] of Object.entries(referencePages())) fs.writeFileSync(path.join(referenceFolder, name), text);
  console.log(`Wrote ${path.relative(process.cwd(), referenceFolder)}.`);
}
