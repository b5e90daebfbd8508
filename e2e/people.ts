import { readFile } from 'node:fs/promises';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { type Person, type TestServer, type TestServerOptions, startTestServer } from '../packages/server/test/harness.ts';
import { launch } from './chromium.ts';

export const password = 'correct horse battery';
/** Two cores, two browsers and a server: what is quick may still have to wait its turn. */
export const patient = { timeout: 20_000 };

/** Somebody who is signed in, in a browser of their own. */
export interface Someone {
  page: Page;
  name: string;
  handle: string;
}

/** A server and one Chromium, in which each person has a context: nothing is shared between them. */
export class Site {
  readonly server: TestServer;
  readonly browser: Browser;
  /** Everything the pages complained about, and every request that left the server's own origin. */
  readonly complaints: string[] = [];
  readonly #workerAtOnce: boolean;
  #names = 0;

  private constructor(server: TestServer, browser: Browser, workerAtOnce: boolean) {
    this.server = server;
    this.browser = browser;
    this.#workerAtOnce = workerAtOnce;
  }

  /** @param options.workerAtOnce  Pages register the service worker without letting it wait, for tests that need it. */
  static async open({ workerAtOnce = false, ...options }: TestServerOptions & { workerAtOnce?: boolean } = {}): Promise<Site> {
    const browser = await launch();
    const server = await startTestServer(options);
    // A server that starts again must be where the pages look for it.
    Object.assign(server.config, { port: server.port });
    return new Site(server, browser, workerAtOnce);
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.server.close();
  }

  /** Starts the server again, and lets the browsers say that there is a network: their own tries come at longer and longer intervals. */
  async restart(): Promise<void> {
    await this.server.restart();
    const pages = this.browser.contexts().flatMap((context) => context.pages());
    await Promise.all(pages.map((page) => page.evaluate(() => dispatchEvent(new Event('online')))));
  }

  /** After each test: the browsers of its people go. */
  async closePages(): Promise<void> {
    await Promise.all(this.browser.contexts().map((context) => context.close()));
  }

  async openBrowser(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.browser.newContext({
      baseURL: this.server.url,
      locale: 'en-GB',
      viewport: { width: 1280, height: 800 },
      permissions: ['clipboard-read', 'clipboard-write'],
      ...options,
    });
    context.setDefaultTimeout(20_000);
    context.on('page', (page) => this.#listen(page));
    if (this.#workerAtOnce) await context.addInitScript(hurryWorker);
    return context.newPage();
  }

  /** Makes an account, and opens the client with it. That people can do so by hand is shown where it is the subject. */
  async register(name: string, options?: BrowserContextOptions): Promise<Someone> {
    return this.enter(await this.server.register(`${name.toLowerCase()}${++this.#names}`, { password, name }), options);
  }

  /** Makes an account on the sign-in page. */
  async signUp(name: string, options?: BrowserContextOptions): Promise<Someone> {
    const page = await this.openBrowser(options);
    const handle = `${name.toLowerCase()}${++this.#names}`;
    await page.goto('/signin');
    await page.getByRole('button', { name: 'New account' }).click();
    await page.getByLabel('Your name').fill(name);
    await page.getByLabel('User name').fill(handle);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Make the account' }).click();
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    return { page, name, handle };
  }

  /** Another device of somebody. */
  async signIn({ handle }: Pick<Someone, 'handle'>, options?: BrowserContextOptions): Promise<Someone> {
    return this.enter(await this.server.login({ handle, password } as Person), options);
  }

  /** Signs somebody in on the sign-in page. */
  async signInAt(page: Page, { handle, name }: Pick<Someone, 'handle' | 'name'>, secret = password): Promise<Someone> {
    await page.goto('/signin');
    await page.getByRole('button', { name: 'Sign in' }).first().click();
    await page.getByLabel('User name').fill(handle);
    await page.getByLabel('Password').fill(secret);
    await page.locator('form').getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    return { page, name, handle };
  }

  /**
   * Opens a browser that has the session of this person, as if they had signed in there.
   *
   * @param options.path  Where it opens. Default: the chats.
   */
  async enter(person: Person, { path = '/', ...options }: BrowserContextOptions & { path?: string } = {}): Promise<Someone> {
    const page = await this.openBrowser({ storageState: this.stateOf(person), ...options });
    await page.goto(path);
    await page.locator('.app').waitFor();
    return { page, name: person.user.name, handle: person.handle! };
  }

  /** What a browser keeps of somebody who is signed in: the session, and whose it is. */
  stateOf({ id, token }: Person): Exclude<BrowserContextOptions['storageState'], string | undefined> {
    const { hostname, origin } = new URL(this.server.url);
    return {
      cookies: [{ name: 'kith', value: token, domain: hostname, path: '/', expires: -1, httpOnly: true, secure: false, sameSite: 'Lax' }],
      origins: [{ origin, localStorage: [{ name: 'kith.user', value: id }] }],
    };
  }

  /** Two friends with their conversation open. */
  async friends(): Promise<[Someone, Someone]> {
    const [ada, noor] = await Promise.all(['Ada', 'Noor'].map((name) => this.server.register(`${name.toLowerCase()}${++this.#names}`, { password, name })));
    await this.server.befriend(ada!, noor!);
    const { conversation } = await this.server.call('conversation.direct', { userId: noor!.id }, ada!.token);
    const both = await Promise.all([ada!, noor!].map((one) => this.enter(one, { path: `/c/${conversation.id}` })));
    await Promise.all(both.map((one) => field(one).waitFor()));
    return both as [Someone, Someone];
  }

  #listen(page: Page): void {
    page.on('pageerror', (error) => this.complaints.push(`error at ${page.url()}: ${error.stack ?? error.message}`));
    page.on('console', (line) => {
      if (/Content Security Policy|TrustedHTML|TrustedScript|\[Vue|\[intlify\]|^\w*Error: /i.test(line.text())) this.complaints.push(line.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(this.server.url) && !/^(data|blob):/.test(request.url())) this.complaints.push(`request: ${request.url()}`);
    });
  }
}

/** Runs in the page. It lets its service worker wait for seconds, so that it does not compete with the first picture. */
function hurryWorker(): void {
  const { setTimeout } = globalThis;
  globalThis.setTimeout = ((run: () => void, ms: number, ...rest: []) => setTimeout(run, String(run).includes('useServiceWorker') ? 0 : ms, ...rest)) as typeof setTimeout;
}

export async function askToBeFriends(one: Someone, other: Someone, note: string): Promise<void> {
  await one.page.goto('/contacts');
  await one.page.getByRole('button', { name: 'Add a friend' }).first().click();
  await one.page.getByLabel('User name').fill(other.handle);
  await one.page.getByRole('button', { name: 'Find' }).click();
  await one.page.getByLabel('A word about who you are').fill(note);
  await one.page.getByRole('button', { name: 'Ask to be friends' }).click();
}

export async function befriend(one: Someone, other: Someone): Promise<void> {
  await askToBeFriends(one, other, `Hello, ${one.name} here.`);
  await other.page.getByRole('link', { name: /Contacts/ }).click();
  await other.page.getByRole('listitem').filter({ hasText: one.name }).getByRole('button', { name: 'Accept' }).click();
  await one.page.getByRole('link', { name: other.name }).waitFor();
}

/** Opens the conversation of two friends, from the contacts. */
export async function openDirect(one: Someone, other: Someone): Promise<void> {
  await one.page.goto('/contacts');
  await one.page.getByRole('link', { name: other.name }).click();
  await one.page.locator('.profile').getByRole('button', { name: 'Message' }).click();
  await field(one).waitFor();
}

export const field = ({ page }: Someone): Locator => page.getByRole('textbox', { name: 'Message' });
export const log = ({ page }: Someone): Locator => page.getByRole('log');
export const bubble = (one: Someone, text: string): Locator =>
  log(one)
    .locator('.msg')
    .filter({ has: one.page.getByText(text, { exact: true }) });

export async function say(one: Someone, ...words: string[]): Promise<void> {
  for (const text of words) {
    await field(one).fill(text);
    await field(one).press('Enter');
  }
}

/** The texts of the open conversation, once there are so many. */
export async function texts(one: Someone, count: number): Promise<string[]> {
  const found = log(one).locator('.msg .text');
  await found.nth(count - 1).waitFor();
  return found.allTextContents();
}

export const untilHidden = (locator: Locator): Promise<void> => locator.waitFor({ state: 'hidden' });

/** Waits until a page says yes. */
export const until = async (page: Page, condition: () => boolean | Promise<boolean>): Promise<void> => void (await page.waitForFunction(condition, undefined, patient));

/** What axe calls serious or critical. It is put in by the test, past the page's own policy. */
export async function seriousProblems(page: Page): Promise<string[]> {
  await page.evaluate(await axe());
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(options: object): Promise<{ passes: unknown[]; violations: { id: string; impact: string; nodes: { target: string[]; failureSummary: string }[] }[] }> };
    };
    const { passes, violations } = await axe.run({});
    if (passes.length < 10) return ['axe looked at nothing'];
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id} ${nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary}`).join('; ')}`);
  });
  return found;
}

/** All that axe finds against WCAG 2.2 AA, whatever it calls it, and against its own rules on landmarks, headings and targets. */
export async function wcagProblems(page: Page): Promise<string[]> {
  await page.evaluate(await axe());
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(options: object): Promise<{ passes: unknown[]; violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[] }> };
    };
    const values = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    const { passes, violations } = await axe.run({ runOnly: { type: 'tag', values } });
    if (passes.length < 10) return ['axe looked at nothing'];
    return violations.map(({ id, nodes }) => `${id} ${nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary}`).join('; ')}`);
  });
}

let axeSource: Promise<string> | undefined;
const axe = (): Promise<string> => (axeSource ??= readFile(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8'));
