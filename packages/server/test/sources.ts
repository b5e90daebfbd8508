import fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

export interface Import {
  /** Of our own files the path from the root, `packages/server/src/log.ts`; else as written: `ws`, `@kith/client`, `node:fs`. */
  target: string;
  /** Nothing of it is left when the types are gone. */
  typesOnly: boolean;
  line: number;
}

export interface Source {
  /** From the root, with forward slashes. */
  file: string;
  text: string;
  imports: Import[];
  /** What the code says of names that it did not declare: `Date.now`, `new WebSocket`, `fetch`. */
  globals: { name: string; line: number }[];
}

const root = path.resolve(import.meta.dirname, '../../..');

/** Every file that ships: tests and what serves only them are left out. */
export function readSources(): Source[] {
  const packages = fs.readdirSync(path.join(root, 'packages')).map((name) => `packages/${name}/src`);
  return packages
    .filter((folder) => fs.existsSync(path.join(root, folder)))
    .flatMap((folder) =>
      fs
        .readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
        .map((name) => `${folder}/${name.replaceAll(path.sep, '/')}`)
        .filter((file) => /\.(ts|vue)$/.test(file) && !/\.(test|contract)\.ts$/.test(file))
        .map((file) => parseSource(file, fs.readFileSync(path.join(root, file), 'utf8'))),
    );
}

export function parseSource(file: string, text: string): Source {
  const parsed = ts.createSourceFile(file, file.endsWith('.vue') ? scriptOf(text) : text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
  const source: Source = { file, text, imports: [], globals: [] };
  const lineOf = (node: ts.Node) => parsed.getLineAndCharacterOfPosition(node.getStart()).line + 1;
  const addImport = (specifier: ts.Node, typesOnly: boolean) => {
    if (!ts.isStringLiteralLike(specifier)) return;
    const target = specifier.text.startsWith('.') ? path.posix.join(path.posix.dirname(file), specifier.text) : specifier.text;
    source.imports.push({ target, typesOnly, line: lineOf(specifier) });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) addImport(node.moduleSpecifier, isTypesOnly(node.importClause));
    if (ts.isExportDeclaration(node) && node.moduleSpecifier) addImport(node.moduleSpecifier, node.isTypeOnly);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) addImport(node.argument.literal, true);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword && node.arguments[0]) addImport(node.arguments[0], false);
    // How a worker is named: new URL('./worker.ts', import.meta.url).
    if (ts.isNewExpression(node) && node.expression.getText() === 'URL' && node.arguments?.[1]?.getText() === 'import.meta.url') addImport(node.arguments[0]!, false);

    if (ts.isNewExpression(node)) source.globals.push({ name: `new ${node.expression.getText()}`, line: lineOf(node) });
    if (ts.isPropertyAccessExpression(node)) source.globals.push({ name: node.getText(), line: lineOf(node) });
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) source.globals.push({ name: node.expression.text, line: lineOf(node) });
    ts.forEachChild(node, visit);
  };
  visit(parsed);
  return source;
}

function isTypesOnly(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const named = clause.namedBindings;
  return !clause.name && named !== undefined && ts.isNamedImports(named) && named.elements.every(({ isTypeOnly }) => isTypeOnly);
}

/** The script of a component, at the lines where it stands. */
function scriptOf(component: string): string {
  const script = /<script[^>]*>([\s\S]*?)<\/script>/.exec(component);
  if (!script) return '';
  const before = component.slice(0, script.index + script[0].indexOf('>') + 1);
  return before.replaceAll(/[^\n]/g, ' ') + script[1];
}
