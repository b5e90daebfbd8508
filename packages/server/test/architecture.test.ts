import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Source, parseSource, readSources } from './sources.ts';

/**
 * Who may import whom, and the few other laws of the house that a machine can read off the code. Patterns are globs
 * over our own files (`packages/…`) and the names of packages.
 */
interface Rule {
  /** The name of its test. */
  rule: string;
  files: string[];
  except?: string[];
  /** Only these may be imported. */
  may?: string[];
  /** These may not be imported. */
  mayNot?: string[];
  /** Imports of types alone are let through. */
  typesAreFine?: true;
  /** Names of the language and the platform that are not used. */
  without?: RegExp;
  /** Text that is not there. */
  never?: RegExp;
  /** A file that breaks the rule, to see that the test would notice. */
  broken: [file: string, text: string];
}

const server = 'packages/server/src';
const web = 'packages/web/src';
/** What any part of the server may know. */
const everywhere = [`${server}/config.ts`, `${server}/log.ts`, `${server}/metrics.ts`, '@kith/protocol', 'node:*', 'node:*/**'];

const rules: Rule[] = [
  {
    rule: '[AR1] protocol imports nothing but zod',
    files: ['packages/protocol/src/**'],
    may: ['packages/protocol/src/**', 'zod/mini'],
    broken: ['packages/protocol/src/x.ts', `import { readFile } from 'node:fs/promises';`],
  },
  {
    rule: '[AR2] protocol does no I/O, draws no lots and reads no clock',
    files: ['packages/protocol/src/**'],
    without: /^(Date\.now|new Date|performance\..*|fetch|setTimeout|setInterval|queueMicrotask|process\..*|console\..*|crypto\..*|Math\.random)$/,
    broken: ['packages/protocol/src/x.ts', `export const at = () => Date.now();`],
  },
  {
    rule: '[AR3] client imports protocol and no framework, so that it runs in browsers, Node and mini-programs',
    files: ['packages/client/src/**'],
    may: ['packages/client/src/**', '@kith/protocol', 'idb'],
    broken: ['packages/client/src/x.ts', `import { ref } from 'vue';`],
  },
  {
    rule: '[AR4] web imports client and protocol, by name and not by path',
    files: [`${web}/**`],
    may: [`${web}/**`, '@kith/client', '@kith/protocol', 'vue', 'vue-router', 'petite-vue-i18n', 'uqr', '@simplewebauthn/browser'],
    broken: [`${web}/x.ts`, `import type { Core } from '../../server/src/core/core.ts';`],
  },
  {
    rule: '[AR5] server imports neither client nor web, and protocol by name',
    files: [`${server}/**`],
    mayNot: ['@kith/client', '@kith/web', 'packages/{client,web,protocol}/**', 'vue'],
    broken: [`${server}/x.ts`, `import { createClient } from '@kith/client';`],
  },
  {
    rule: '[AR6] features never import each other; what two share gets a name in core',
    files: [`${server}/features/*.ts`],
    except: [`${server}/features/index.ts`],
    mayNot: [`${server}/features/**`],
    broken: [`${server}/features/friends.ts`, `import { profile } from './users.ts';`],
  },
  {
    rule: '[AR7] features know the core, the shape of the database and nothing of sockets, HTTP, brokers and drivers',
    files: [`${server}/features/*.ts`],
    may: [`${server}/features/**`, `${server}/core/**`, `${server}/db/{db,prepare,schema,search}.ts`, ...everywhere, 'kysely', 'jose'],
    broken: [`${server}/features/messages.ts`, `import { Hub } from '../gateway/hub.ts';`],
  },
  {
    rule: '[AR8] only db reads a database, only gateway speaks WebSocket, only broker/nats.ts knows NATS',
    files: [`${server}/**`],
    except: [`${server}/{db,gateway}/**`, `${server}/broker/nats.ts`],
    mayNot: ['pg', 'node:sqlite', 'ws', '@nats-io/**'],
    broken: [`${server}/features/messages.ts`, `import { DatabaseSync } from 'node:sqlite';`],
  },
  {
    rule: '[AR9] gateway and http know the core, the broker and the blobs by their interfaces, and no database',
    files: [`${server}/{gateway,http}/**`],
    may: [
      `${server}/{gateway,http}/**`,
      `${server}/core/core.ts`,
      `${server}/broker/broker.ts`,
      `${server}/blobs/blobs.ts`,
      `${server}/pictures/pictures.ts`,
      ...everywhere,
      'ws',
      'fastify',
      '@fastify/*',
    ],
    broken: [`${server}/http/api.ts`, `import { openDatabase } from '../db/open.ts';`],
  },
  {
    rule: '[AR10] core knows nothing of sockets, HTTP, brokers and drivers',
    files: [`${server}/core/**`],
    may: [`${server}/core/**`, `${server}/features/**`, `${server}/db/{db,prepare,schema,search,open}.ts`, ...everywhere, 'kysely', '@simplewebauthn/server'],
    broken: [`${server}/core/x.ts`, `const open = () => import('../db/sqlite.ts');`],
  },
  {
    rule: '[AR11] only the dispatcher names features',
    files: [`${server}/**`],
    except: [`${server}/features/**`, `${server}/core/local-core.ts`],
    mayNot: [`${server}/features/**`],
    broken: [`${server}/core/streams.ts`, `import { handlers } from '../features/index.ts';`],
  },
  {
    rule: '[AR12] the write path needs the database and nothing else',
    files: [`${server}/core/streams.ts`],
    may: [`${server}/db/{db,prepare}.ts`, `${server}/core/core.ts`, '@kith/protocol'],
    broken: [`${server}/core/streams.ts`, `import { access } from './access.ts';`],
  },
  {
    rule: '[AR13] db, broker and blobs know their own interface only',
    files: [`${server}/{db,broker,blobs}/**`],
    may: [`${server}/{db,broker,blobs}/**`, `${server}/core/core.ts`, ...everywhere, 'kysely', 'kysely/*', 'pg', '@nats-io/*', 's3mini'],
    broken: [`${server}/db/postgres.ts`, `import { commit } from '../core/streams.ts';`],
  },
  {
    rule: '[AR14] concrete drivers are named by db/open.ts alone, concrete blob stores by blobs/open.ts and the demo alone, concrete brokers by server.ts alone',
    files: [`${server}/**`],
    except: [`${server}/db/open.ts`, `${server}/blobs/open.ts`, `${server}/server.ts`, `${server}/demo.ts`],
    mayNot: [`${server}/db/{sqlite,postgres,copy-sqlite,copy-postgres}.ts`, `${server}/broker/{local,nats}.ts`, `${server}/blobs/{disk,s3}.ts`],
    broken: [`${server}/gateway/gateway.ts`, `import { localBroker } from '../broker/local.ts';`],
  },
  {
    rule: '[AR25] what talks to strangers knows nothing of ours',
    files: [`${server}/previews/{child,fetch,network,addresses,page,talk}.ts`],
    may: [`${server}/previews/{fetch,network,addresses,page,talk}.ts`, 'htmlparser2', 'node:*', 'node:*/**'],
    broken: [`${server}/previews/fetch.ts`, `import { openLog } from '../log.ts';`],
  },
  {
    rule: '[AR15] nothing imports the process',
    files: [`${server}/**`],
    mayNot: [`${server}/main.ts`],
    broken: [`${server}/config.ts`, `import { start } from './main.ts';`],
  },
  {
    rule: '[AR16] nothing but the write path writes to the streams or counts a version up',
    files: [`${server}/**`],
    except: [`${server}/core/streams.ts`],
    never:
      /(?:updateTable|insertInto|deleteFrom|mergeInto)\(\s*['"`]streams\b|\b(?:update|insert\s+into|delete\s+from)\s+"?streams\b|['"`]version['"`]\s*,\s*['"`]\+['"`]|\bversion"?\s*=\s*(?:[\w."]+\.)?"?version"?\s*\+/i,
    broken: [`${server}/features/reads.ts`, 'await sql`update streams set version = version + 1 where id = ${stream}`.execute(q);'],
  },
  {
    rule: '[AR17] web never opens a socket: the client does',
    files: [`${web}/**`],
    without: /^new (?:(?:window|globalThis|self)\.)?(?:WebSocket|EventSource)$/,
    broken: [`${web}/composables/useX.ts`, `const socket = new WebSocket('/ws');`],
  },
  {
    rule: '[AR18] no text of a stranger becomes HTML',
    files: [`${web}/**`],
    never: /\bv-html\b|\b(?:innerHTML|outerHTML)\s*=[^=]|insertAdjacentHTML|document\.write\b/,
    broken: [`${web}/components/message/MessageText.vue`, `<template><p v-html="text" /></template>`],
  },
  {
    rule: '[AR19] components and views show and emit; only composables talk to the client',
    files: [`${web}/components/**`, `${web}/views/**`, `${web}/App.vue`],
    mayNot: ['@kith/client'],
    typesAreFine: true,
    broken: [`${web}/views/X.vue`, `<script setup lang="ts">\nimport { type Client, createClient } from '@kith/client';\n</script>`],
  },
  {
    rule: '[AR20] composables know no component; they may share its types',
    files: [`${web}/composables/**`],
    mayNot: [`${web}/**/*.vue`, `${web}/views/**`],
    typesAreFine: true,
    broken: [`${web}/composables/useX.ts`, `import UiDialog from '../components/ui/UiDialog.vue';`],
  },
  {
    rule: '[AR21] only the process that looks at pictures knows their decoder, and server.ts and the demo alone who runs it',
    files: [`${server}/**`],
    except: [`${server}/pictures/child.ts`, `${server}/server.ts`, `${server}/demo.ts`],
    mayNot: ['sharp', `${server}/pictures/pool.ts`],
    broken: [`${server}/http/files.ts`, `import sharp from 'sharp';`],
  },
  {
    rule: '[AR22] what looks at pictures knows nothing of the rest',
    files: [`${server}/pictures/**`],
    may: [`${server}/pictures/**`, ...everywhere, 'sharp'],
    broken: [`${server}/pictures/child.ts`, `import type { Blobs } from '../blobs/blobs.ts';`],
  },
];

const sources = readSources();
const matches = (name: string, patterns: string[] = []) => patterns.some((pattern) => path.posix.matchesGlob(name, pattern));
const concerns = (rule: Rule, file: string) => matches(file, rule.files) && !matches(file, rule.except);

/** One line for each place that breaks the rule: where, and what stands there. */
function problems(rule: Rule, { file, text, imports, globals }: Source): string[] {
  const bad = imports.filter(({ target, typesOnly }) => {
    if (typesOnly && rule.typesAreFine) return false;
    return (rule.may !== undefined && !matches(target, rule.may)) || matches(target, rule.mayNot);
  });
  const used = globals.filter(({ name }) => rule.without?.test(name));
  const found = rule.never?.exec(text);
  return [
    ...bad.map(({ target, line }) => `${file}:${line} imports ${target}`),
    ...used.map(({ name, line }) => `${file}:${line} uses ${name}`),
    ...(found ? [`${file}:${text.slice(0, found.index).split('\n').length} says ${found[0]}`] : []),
  ];
}

describe('the house', () => {
  test.for(rules)('$rule', (rule) => {
    expect(sources.filter(({ file }) => concerns(rule, file)).flatMap((source) => problems(rule, source))).toEqual([]);
  });
});

/** What Node cannot read, though compilers can. */
function unreadable({ file, text }: Pick<Source, 'file' | 'text'>): string[] {
  try {
    stripTypeScriptTypes(text);
    return [];
  } catch (error) {
    return [`${file}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

test('[AR26] Node reads protocol, client and server as they stand, without a build', () => {
  const run = sources.filter(({ file }) => /^packages\/(?:protocol|client|server)\/.*\.ts$/.test(file));
  expect(run.length).toBeGreaterThan(100);
  expect(run.flatMap(unreadable)).toEqual([]);
  expect(unreadable({ file: 'x.ts', text: 'enum Colour { red }' })).toHaveLength(1);
});

describe('the watch over it', () => {
  test.for(rules)('$rule: would be noticed', (rule) => {
    expect(sources.some(({ file }) => concerns(rule, file))).toBe(true);
    const source = parseSource(...rule.broken);
    expect(concerns(rule, source.file)).toBe(true);
    expect(problems(rule, source)).toHaveLength(1);
  });
});
