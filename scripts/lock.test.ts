import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

interface Package {
  version?: string;
  resolved?: string;
  integrity?: string;
  link?: boolean;
  hasInstallScript?: boolean;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}
type Manifest = Package & { allowScripts?: Record<string, boolean> };

const root = path.resolve(import.meta.dirname, '..');
const readJson = (file: string): unknown => JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'));
const { packages } = readJson('package-lock.json') as { packages: Record<string, Package> };
const manifest = readJson('package.json') as Manifest;
const workspaces = ['', ...fs.readdirSync(path.join(root, 'packages')).map((name) => `packages/${name}`)].filter((folder) =>
  fs.existsSync(path.join(root, folder, 'package.json')),
);
const manifests = workspaces.map((folder) => [folder, readJson(path.join(folder, 'package.json')) as Manifest] as const);
const installed = Object.entries(packages).filter(([name, { link }]) => name.includes('node_modules/') && !link);
const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'] as const;

test('[LK1] the lock names no host, so that it installs from any registry', () => {
  expect(installed.filter(([, { resolved }]) => resolved !== undefined).map(([name]) => name)).toEqual([]);
  expect(fs.readFileSync(path.join(root, '.npmrc'), 'utf8')).toContain('omit-lockfile-registry-resolved=true');
});

test('[LK2] the lock has a hash for every package', () => {
  expect(installed.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([name]) => name)).toEqual([]);
});

test('[LK3] the lock has the packages of every platform', () => {
  const missing = Object.entries(packages).flatMap(([from, { optionalDependencies = {} }]) => Object.keys(optionalDependencies).filter((name) => !find(from, name)));
  expect(missing).toEqual([]);
});

test('[LK4] dependencies are pinned to exact versions, and the lock agrees', () => {
  for (const [folder, own] of manifests) {
    for (const kind of kinds) {
      const loose = Object.entries(own[kind] ?? {}).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version));
      expect(loose, `${folder}/package.json`).toEqual([]);
      expect(packages[folder]?.[kind] ?? {}, `${folder || 'root'} in package-lock.json`).toEqual(own[kind] ?? {});
    }
  }
});

test('[LK5] no package runs a script when it is installed', () => {
  const withScripts = installed.filter(([, { hasInstallScript }]) => hasInstallScript).map(([name]) => name.slice(name.lastIndexOf('node_modules/') + 'node_modules/'.length));
  // npm refuses what is not listed, on the platform that meets it first: so all platforms are listed, each as refused.
  expect(Object.values(manifest.allowScripts ?? {})).not.toContain(true);
  expect(withScripts.filter((name) => manifest.allowScripts?.[name] !== false)).toEqual([]);
});

/** As Node looks for it: in the nearest node_modules, then further out. */
function find(from: string, name: string): boolean {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`]) return true;
    if (at === '') return false;
  }
}
