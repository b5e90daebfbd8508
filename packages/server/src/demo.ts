import fs from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as passed } from 'node:timers/promises';
import { type FileRef, type MethodName, type Params, type Reply, type Result, isEmojiText } from '@kith/protocol';
import type { Blobs } from './blobs/blobs.ts';
import { openDisk } from './blobs/disk.ts';
import { type Config, configWith } from './config.ts';
import type { Core, Identity } from './core/core.ts';
import { openCore } from './core/open.ts';
import { type SceneName, drawScene, hum, paper } from './demo-files.ts';
import { shownType } from './http/file-types.ts';
import { keepPicture } from './http/renditions.ts';
import { openLog } from './log.ts';
import type { Pictures } from './pictures/pictures.ts';
import { openPictures } from './pictures/pool.ts';

/** The password of everybody in the demo. */
export const demoPassword = 'autumn-trip';
/** User names worth signing in with; the first is the operator. */
export const demoSignIns = ['lin', 'noor', 'ada', 'tomas', 'mei'];

/**
 * `kith demo`: a server with people and messages in it. They are in a database of their own, `demo` inside the data
 * directory, so that a real server beside it is never touched; it is filled at the first start and kept after that.
 */
export async function prepareDemo(config: Config): Promise<Config> {
  const data = path.join(config.data, 'demo');
  if (!fs.existsSync(path.join(data, 'kith.db'))) await seedDemo(data);
  return { ...config, data, database: 'sqlite' };
}

/** What to tell whoever started it. */
export const demoWelcome = `  Sign in as  ${demoSignIns.join('  ')}
  Password    ${demoPassword}

  Two browsers, two people: try it.
`;

/**
 * Makes a data directory with people who know each other and what they wrote in the last two weeks.
 *
 * @param data  Directory; must not hold a database yet.
 * @param now   Milliseconds since 1970: where the story ends. Default: this moment.
 */
export async function seedDemo(data: string, now = Date.now()): Promise<void> {
  const parent = path.dirname(path.resolve(data));
  fs.mkdirSync(parent, { recursive: true, mode: 0o700 });
  // Made beside its place and moved there when it is whole: a start that was interrupted leaves no half a demo.
  const draft = fs.mkdtempSync(path.join(parent, '.demo-'));
  try {
    const stage = await openStage(draft, now);
    await play(stage).finally(() => stage.pictures.close());
    await stage.core.close();
    fs.rmSync(data, { recursive: true, force: true });
    fs.renameSync(draft, data);
  } finally {
    fs.rmSync(draft, { recursive: true, force: true });
  }
}

// ── The stage: the real core, with a clock that the story moves ─────────────────────────────────────────────────────

interface Stage {
  core: Core;
  blobs: Blobs;
  pictures: Pictures;
  /** Who is who, by user name. */
  people: Map<string, Identity>;
  /** Moves the clock. @param when  `-2 21:48`: two days ago at that time; `35m`: minutes ago. */
  at(when: string): void;
  call<M extends MethodName>(who: string, method: M, params: Params<M>): Promise<Result<M>>;
}

async function openStage(data: string, now: number): Promise<Stage> {
  let time = now;
  // The password is printed for everybody: what it costs to guess does not matter.
  const config = configWith({ data, rateLimits: false, passwordMemory: 64, passwordPasses: 1, offlineGraceMs: 0 });
  const core = await openCore({ config, clock: () => time });
  const people = new Map<string, Identity>();
  return {
    core,
    blobs: openDisk(path.join(data, 'files'), { reserveBytes: 0 }),
    pictures: openPictures({ log: openLog({ logLevel: 'silent' }), processes: 1 }),
    people,
    at: (when) => (time = momentOf(when, now)),
    async call(who, method, params) {
      const { text } = await core.handle({ identity: people.get(who), ip: '127.0.0.1' }, JSON.stringify({ id: '1', method, params }));
      const { error, result } = JSON.parse(text) as Reply;
      if (error) throw new Error(`The demo cannot be made: ${who} ${method}: ${error.message}`);
      return result as never;
    },
  };
}

function momentOf(when: string, now: number): number {
  const [, daysAgo, hour, minute] = /^-(\d+) (\d\d):(\d\d)$/.exec(when) ?? [];
  if (daysAgo === undefined) return now - Number.parseInt(when, 10) * 60_000;
  const date = new Date(now);
  date.setDate(date.getDate() - Number(daysAgo));
  return date.setHours(Number(hour), Number(minute), 0, 0);
}

const idOf = (stage: Stage, who: string): string => stage.people.get(who)!.userId;

async function join(stage: Stage, [handle, name, bio, device]: Person, invite?: string): Promise<void> {
  const { user, sessionId } = await stage.call('', 'auth.register', { handle, name, avatar: handle, password: demoPassword, device, invite });
  stage.people.set(handle, { userId: user.id, sessionId });
  if (bio) await stage.call(handle, 'user.update', { bio });
}

async function befriend(stage: Stage, one: string, other: string, note = ''): Promise<void> {
  await stage.call(one, 'friend.request', { userId: idOf(stage, other), note });
  await stage.call(other, 'friend.accept', { userId: idOf(stage, one) });
}

/** A conversation of two, made when they need it. */
async function between(stage: Stage, one: string, other: string): Promise<string> {
  return (await stage.call(one, 'conversation.direct', { userId: idOf(stage, other) })).conversation.id;
}

/** A group; strangers among its members accept it. @param avatar  What its picture is drawn from: the same in every demo. */
async function group(stage: Stage, owner: string, title: string, avatar: string, members: string[]): Promise<string> {
  const memberIds = members.map((who) => idOf(stage, who));
  const { conversation } = await stage.call(owner, 'conversation.create', { title, avatar, memberIds });
  for (const who of members) await stage.call(who, 'conversation.accept', { conversationId: conversation.id });
  return conversation.id;
}

type Made = { name: string; bytes: Buffer; durationMs?: number; waveform?: number[] };

/** What a line sends besides words: `[image lake 湖边.png]`, `[file plan.pdf 1400]` with its kilobytes, `[voice 42]` with its seconds. */
function make(kind: string, about: string): Made {
  const [first = '', ...rest] = about.split(' ');
  if (kind === 'voice') return { name: 'voice.wav', ...hum(Number(first)) };
  if (kind === 'image') return { name: rest.join(' '), bytes: drawScene(first as SceneName) };
  const name = [first, ...rest.slice(0, -1)].join(' ');
  return { name, bytes: paper(name, Number(rest.at(-1)) * 1_000) };
}

/** As an upload ends at a gateway: bytes in the store, pictures looked at, the core told. */
async function upload(stage: Stage, who: string, { name, bytes, ...measures }: Made): Promise<FileRef> {
  const { core, blobs, pictures } = stage;
  const { fileId } = await stage.call(who, 'file.reserve', { name, size: bytes.length });
  await blobs.append(fileId, 0, Readable.from([bytes]));
  const { sha256, head } = await blobs.finish(fileId);
  const type = shownType(head);
  const reserved = (await core.findUpload(stage.people.get(who)!, fileId))!;
  const picture = type?.startsWith('image/') ? await keepPicture({ blobs, pictures }, fileId, reserved, type) : undefined;
  await core.fileStored(fileId, { sha256, type, ...(picture && { picture }) });
  return (await stage.call(who, 'file.commit', { fileId, sha256, ...measures })).file;
}

let sent = 0;

/**
 * Says the lines of a script, `<when> <who>: <text>`, and lets everybody read them.
 *
 * @param unread  Who has how many of the last lines still to read.
 */
async function tell(stage: Stage, conversationId: string, readers: string[], script: string, unread: Record<string, number> = {}): Promise<string[]> {
  const messageIds: string[] = [];
  let last = 0;
  for (const line of script.trim().split('\n')) {
    const [, when, who, said] = /^\s*(-\d+ \d\d:\d\d|\d+m) ([a-z]+): (.+)$/.exec(line) ?? [];
    if (!when || !who || !said) throw new Error(`The demo cannot read this line: ${line}`);
    stage.at(when);
    const [, kind, about, words = ''] = /^\[(image|file|voice) ([^\]]+)\] ?(.*)$/.exec(said) ?? [];
    const text = (kind ? words : said).replaceAll('\\n', '\n');
    const file = kind ? await upload(stage, who, make(kind, about!)) : undefined;
    // Where pictures cannot be looked at, they are files.
    const type = kind === 'image' && file?.width === undefined ? 'file' : (kind as 'image' | 'file' | 'voice' | undefined);
    const { message } = await stage.call(who, 'message.send', {
      conversationId,
      clientId: `demo-${String(++sent).padStart(6, '0')}`,
      type: type ?? (isEmojiText(text) ? 'emoji' : 'text'),
      text,
      ...(file && { fileId: file.id }),
    });
    messageIds.push(message.id);
    last = message.seq;
  }
  for (const who of readers) {
    const left = unread[who] ?? 0;
    if (left > 0) await stage.call(who, 'receipt.delivered', { conversationId, seq: last });
    await stage.call(who, 'read.mark', { conversationId, seq: last - left });
  }
  return messageIds;
}

/** Was there, and left: the others see since when. */
async function lastSeen(stage: Stage, who: string, when: string): Promise<void> {
  stage.at(when);
  const identity = stage.people.get(who)!;
  stage.core.connected(identity);
  stage.core.disconnected(identity);
  // The core takes somebody for gone one turn of the timers later.
  await passed(1);
}

// ── The story ───────────────────────────────────────────────────────────────────────────────────────────────────────

type Person = [handle: string, name: string, bio: string, device: string];

const cast: Person[] = [
  ['lin', 'Lin 林', '设计、做饭、慢跑。Designs things, cooks things, runs slowly.', 'Firefox · Windows'],
  ['mei', 'Mei 美', '周末在山里', 'Chrome · Android'],
  ['ada', 'Ada Okafor', 'Alto, slow runner, good soup.', 'Safari · iPhone'],
  ['noor', 'Noor Haddad', 'Paperwork is my cardio', 'Firefox · Linux'],
  ['tomas', 'Tomás Rivera', 'Photographs of fog', 'Safari · MacBook'],
  ['zhouhang', '周航', '工作室，前端', 'Edge · Windows'],
  ['shufen', '沈淑芬', '', 'Kith · Android'],
  ['yeye', '林国栋', '种花，下棋', 'Kith · Android'],
  ['leo', 'Leo Lindqvist', 'Back in Uppsala, mostly', 'Firefox · Fedora'],
  ['hana', 'Hana Kimura 木村', '日曜ランナー', 'Safari · iPhone'],
  ['siyuan', '陈思远', 'Mei 的同事', 'Chrome · macOS'],
  ['ingrid', 'Ingrid Solheim', 'Choir, altos and order', 'Safari · iPad'],
  ['clinic', '林医生诊所', '周一至周五 9:00–17:30', 'Chrome · Windows'],
  ['wang', '王阿姨', '3 号楼 101', 'Kith · Android'],
  ['zheng', '老郑', '3 号楼 1203，会修水管', 'Kith · Android'],
  ['wu', '小吴', '', 'Chrome · Android'],
  ['yuki', 'Yuki', '', 'Chrome · Windows'],
];

async function play(stage: Stage): Promise<void> {
  await meet(stage);
  await trip(stage);
  await family(stage);
  await studio(stage);
  await friends(stage);
  await neighbours(stage);
  await clubs(stage);
  await house(stage);
  await requests(stage);
  await leave(stage);
}

async function meet(stage: Stage): Promise<void> {
  const operatorsInvite = await stage.core.setupLink();
  for (const [at, person] of cast.entries()) {
    stage.at(`-${40 - at} 18:${String(10 + at)}`);
    await join(stage, person, person[0] === 'lin' ? operatorsInvite : undefined);
  }
  stage.at('-14 19:20');
  for (const other of ['mei', 'ada', 'noor', 'tomas', 'zhouhang', 'shufen', 'yeye', 'leo', 'clinic', 'wang']) await befriend(stage, other, 'lin');
  for (const other of ['ada', 'noor', 'tomas', 'zhouhang', 'siyuan', 'yuki']) await befriend(stage, 'mei', other);
  for (const other of ['tomas', 'noor', 'hana', 'leo', 'ingrid', 'wang']) await befriend(stage, 'ada', other);
  for (const other of ['zheng', 'wu']) await befriend(stage, 'wang', other);
  await stage.call('lin', 'friend.remark', { userId: idOf(stage, 'shufen'), remark: '妈妈' });
  await stage.call('lin', 'friend.remark', { userId: idOf(stage, 'yeye'), remark: '爷爷' });
  await stage.call('lin', 'friend.remark', { userId: idOf(stage, 'ada'), remark: 'Ada，隔壁 402' });
  for (const [device, when] of [
    ['Safari · MacBook', '-6 22:10'],
    ['Chrome · Android', '-3 08:15'],
    ['Kith · iPhone', '20m'],
  ] as const) {
    stage.at(when);
    await stage.call('', 'auth.login', { handle: 'lin', password: demoPassword, device });
  }
}

async function trip(stage: Stage): Promise<void> {
  const everyone = ['mei', 'lin', 'tomas', 'ada', 'zhouhang', 'yuki'];
  stage.at('-5 20:01');
  const id = await group(stage, 'mei', 'Autumn trip', 'autumn-trip', ['lin', 'zhouhang', 'yuki']);
  await stage.call('mei', 'member.role', { conversationId: id, userId: idOf(stage, 'lin'), role: 'admin' });
  await tell(
    stage,
    id,
    [],
    `
    -5 20:02 mei: 红叶快落了，这个月再不去就要等明年 🍁
    -5 20:03 lin: 去！哪个周末？
    -5 20:07 zhouhang: 我都行，别赶上发布就好
    -5 20:31 yuki: I am free every weekend, this is not a boast
    -5 20:33 mei: 😂
    -5 21:12 mei: 那就这个周六，湖那边。Lake side, two nights if the weather holds.
    -4 08:15 lin: 天气预报：周六晴，最高 14 度，夜里 3 度。厚外套。
    -4 08:16 lin: And gloves, Yuki. Real ones.
    -4 08:40 yuki: I own mittens
    -4 12:20 zhouhang: 交通怎么安排？我的车年检，这周开不了
    -4 12:24 mei: 我问问 Ada 和 Tomás，他们有车
  `,
  );
  stage.at('-3 19:40');
  await stage.call('mei', 'member.add', { conversationId: id, userIds: ['ada', 'tomas'].map((who) => idOf(stage, who)) });
  await tell(
    stage,
    id,
    everyone,
    `
    -3 19:44 ada: Hello autumn people 👋 大家好
    -3 19:45 tomas: Hola! I bring the long lens and no opinions about food
    -3 19:47 mei: 没有意见的人最受欢迎
    -3 20:05 ada: My car takes five, minus the dog, so four.
    -3 20:06 lin: 狗也去？！
    -3 20:06 ada: The dog asked first.
    -3 20:07 yuki: 🐕
    -2 13:10 zhouhang: 民宿谁来找？预算一个人一晚 250 左右吧
    -2 13:12 mei: 我来，晚上发链接
    -2 13:30 lin: 最好有厨房，我可以做饭
    -2 13:31 tomas: Then I do have one opinion about food: Lin cooks.
    -1 21:48 mei: 民宿的链接，我觉得这家不错，有壁炉，也能带狗。\\nhttps://lakehouse-stay.example/autumn
    -1 21:50 mei: 步行 6 分钟到观景台，早餐到 10 点。
    -1 21:51 mei: [image lake 湖边 lake.png] 门口就是这样
    -1 21:52 tomas: The stove sells it. 我投一票。
    -1 21:53 ada: 两票
    -1 21:58 yuki: Three, if there is a kettle
    -1 22:04 lin: 有水壶，我看到照片了。四票。
    95m lin: 周六早上八点出发，来得及吗？
    93m tomas: I can take four, plus one small dog.
    86m ada: Eight works. 我来带早餐，豆沙包和咖啡都有。
    83m ada: [image hills Autumn hills at dusk.png]
    80m lin: 那我负责水果。谁带充电宝？
    74m zhouhang: 我周五晚上确认，发布顺利就来
    33m tomas: @lin 充电宝我有两个，够了。
    32m mei: 房东回复了：两间房都空着，周六 14:00 以后可以入住。
    31m mei: 那我先把两间房订了 🍁
    29m ada: Booked means no more excuses, 谁都不许鸽。
    28m ada: @lin dog blanket is on my list.
  `,
    { lin: 5, zhouhang: 5, yuki: 2 },
  );
  stage.at('27m');
  await stage.call('mei', 'conversation.update', { conversationId: id, title: '秋游 Autumn trip' });
  await stage.call('lin', 'conversation.pin', { conversationId: id, on: true });
}

async function family(stage: Stage): Promise<void> {
  const mother = await between(stage, 'shufen', 'lin');
  await tell(
    stage,
    mother,
    ['shufen', 'lin'],
    `
    -6 19:02 shufen: 吃饭了吗
    -6 19:20 lin: 吃了，番茄炒蛋，你教的那种
    -6 19:21 shufen: 糖放了没有
    -6 19:21 lin: 放了……一点点
    -6 19:22 shufen: 👍
    -4 07:30 shufen: 降温了，穿秋裤
    -4 08:02 lin: 在穿了在穿了
    -2 20:15 shufen: 外婆寄了两瓶辣椒酱，还有一条围巾，你收到没有
    -2 20:40 lin: 还没，快递说明天到
    -1 10:02 lin: 刚到，一切顺利！围巾特别软 🧣
    -1 10:05 shufen: 给外婆打个电话
    -1 10:06 lin: 打了，她说围巾是给我织的，辣椒酱是给我“交朋友”的
    -1 10:09 shufen: 😂
    41m shufen: 周末去山里，鞋子要防滑的
    40m shufen: 到了发个消息
    38m lin: 好的妈，狗也有毯子，我也有厚外套
  `,
    { shufen: 1 },
  );
  stage.at('37m');
  await stage.call('lin', 'conversation.pin', { conversationId: mother, on: true });

  const grandfather = await between(stage, 'yeye', 'lin');
  await tell(
    stage,
    grandfather,
    ['yeye', 'lin'],
    `
    -8 16:20 yeye: 孩子，这个怎么发图片
    -8 16:45 lin: 爷爷，左下角的回形针。不急，周日我回去教您
    -8 17:01 yeye: 好
    -1 09:10 yeye: 菊花开了，三盆黄的，一盆白的
    -1 09:12 yeye: [image flowers 菊花.png]
    -1 09:32 lin: 等我回来看！给白的那盆留个好位置
    -1 09:40 yeye: 已经留了。下棋吗
    -1 12:05 lin: 周日下，让我先走
    -1 12:30 yeye: 让你两个子
  `,
  );

  const notes = await between(stage, 'lin', 'lin');
  await tell(
    stage,
    notes,
    ['lin'],
    `
    -12 23:40 lin: 壁炉用的引火：松果、报纸、耐心
    -9 08:05 lin: Book club: chapters 1 to 4 by the 20th
    -6 22:14 lin: 豆豉排骨：豆豉要先泡，蒜最后放（Ada 的版本加了一点蜂蜜）
    -5 21:30 lin: 秋游要带：厚外套、手电、水果、暖宝宝、Tomás 的三脚架（他会忘）
    -4 15:40 lin: 通行证 2027-03 到期；牙医周四 15:40
    -2 09:12 lin: Wifi at the lake house: ask the landlord
  `,
  );
  stage.at('-2 09:13');
  await stage.call('lin', 'conversation.pin', { conversationId: notes, on: true });
}

async function studio(stage: Stage): Promise<void> {
  const everyone = ['zhouhang', 'lin', 'noor', 'mei', 'siyuan'];
  stage.at('-13 10:00');
  await befriend(stage, 'zhouhang', 'noor');
  await befriend(stage, 'zhouhang', 'siyuan');
  const id = await group(stage, 'zhouhang', '工作室 Studio', 'studio', ['lin', 'noor', 'mei', 'siyuan']);
  const messageIds = await tell(
    stage,
    id,
    everyone,
    `
    -7 09:31 zhouhang: 早。这周的目标：新首页上线，别的都往后排
    -7 09:33 siyuan: 收到
    -7 09:40 noor: Morning. Legal text for the footer is in the shared folder.
    -7 09:42 lin: 首页第三稿今天下午发，配色暖一点
    -7 15:55 lin: 发了。重点看窄屏，标题换行我改了两次
    -7 16:20 mei: 比第二稿安静多了，喜欢
    -7 16:24 noor: The German headline still breaks after „und“
    -7 16:30 lin: I knew somebody would open the German one. Fixing.
    -6 11:02 siyuan: 构建慢的原因找到了，图片没有压缩。改完 40 秒变 6 秒
    -6 11:03 zhouhang: 🎉
    -3 14:10 zhouhang: 周四发布，周三晚上冻结代码
    -3 14:12 noor: Then Wednesday evening I read everything once more, slowly.
    -2 17:45 siyuan: 搜索页在 Safari 里会闪一下，正在查
    -2 18:30 siyuan: 查到了，是字体加载的顺序
    -1 18:02 mei: 代码冻结了吗？我还有一个错别字
    -1 18:03 zhouhang: 错别字不算代码，改
    -1 18:04 mei: ❤️
    -1 18:20 siyuan: 错别字也会引发事故的，我见过
    -1 18:21 zhouhang: 展开讲讲
    150m noor: Read everything, slowly. Two commas moved, one promise softened.
    141m siyuan: 预发环境好了，大家点一点
    139m mei: 窄屏没问题
    133m noor: Contact form: the error message says “something”. Which thing?
    131m siyuan: 好问题
    120m zhouhang: 先修这个
    95m siyuan: 修好了，现在会说是哪个字段
    71m noor: Much better. It now apologises for the right thing.
    60m mei: 截图存了，留念
    55m zhouhang: 客户那边周一才有人，周五发布等于周末值班
    51m zhouhang: 发布推迟到周一，changelog 已更新
  `,
    { lin: 12, mei: 1 },
  );
  stage.at('50m');
  await stage.call('siyuan', 'message.delete', { messageId: messageIds[17]! });

  const colleague = await between(stage, 'zhouhang', 'lin');
  await tell(
    stage,
    colleague,
    ['zhouhang', 'lin'],
    `
    -3 10:15 zhouhang: 下午能帮我看一下图标吗？十分钟
    -3 10:40 lin: 可以，三点以后
    -3 15:20 lin: 看完了，铃铛和喇叭太像，换一个
    -3 15:24 zhouhang: 有道理，两个都会响
    185m lin: 新首页的最后一张图传好了，顺便把图标也换了
    178m zhouhang: 好的，我下午看
  `,
  );

  const colleagues = await between(stage, 'siyuan', 'mei');
  await tell(
    stage,
    colleagues,
    ['siyuan', 'mei'],
    `
    -1 19:02 siyuan: 你们周末去湖边？
    -1 19:10 mei: 来吗？我跟 Lin 说一声，她管车位
    -1 19:11 siyuan: 我加她
  `,
    { mei: 1 },
  );
}

async function friends(stage: Stage): Promise<void> {
  const noor = await between(stage, 'noor', 'lin');
  const lines = await tell(
    stage,
    noor,
    ['noor', 'lin'],
    `
    -5 18:10 noor: The consulate wants the form in two copies, in blue ink, and in a good mood.
    -5 18:14 lin: 蓝墨水有，好心情没有
    -5 18:15 noor: I can lend you one of mine
    -2 09:02 noor: 到家了吗？
    -2 09:03 noor: Did the parcel from 外婆 arrive too?
    -1 10:06 lin: 刚到，一切顺利。
    -1 10:06 lin: And yes, two jars of 辣椒酱 and a scarf.
    -1 10:14 noor: I am coming over. For the scarf.
    -1 10:15 noor: Not for the scarf.
    -1 10:16 lin: 🥟🥟🧣
    130m noor: [voice 12]
    126m noor: [file 签证材料清单 Visa checklist v3.pdf 1400]
    125m noor: 签证材料清单我改好了，第三版。
    124m noor: 第二页要两个人都签字，看一下日期有没有写错。
    118m lin: 签好了，明天一早寄。
    112m lin: Tracking number to follow
    64m noor: 如果周五前没收到，就打这个电话 +86 21 5555 0134
  `,
  );
  stage.at('63m');
  await stage.call('noor', 'message.delete', { messageId: lines[8]! });

  const tomas = await between(stage, 'tomas', 'lin');
  await tell(
    stage,
    tomas,
    ['tomas', 'lin'],
    `
    -9 21:30 tomas: I scanned the negatives from the coast. Fog, fog, you, fog.
    -9 21:31 tomas: [image fog Coast 14.png]
    -9 21:41 lin: 发我那张“我”的
    -9 21:42 tomas: It is mostly fog
    -9 21:43 lin: 🌫️
    -2 17:20 tomas: Is the 70–200 still with you?
    -2 17:31 lin: 在书架上，包着毛巾，很安全
    62m tomas: Could you bring the long lens? 我的那支
    61m tomas: And the tripod plate, if the towel kept it
  `,
    { lin: 2 },
  );

  const ada = await between(stage, 'ada', 'lin');
  await tell(
    stage,
    ada,
    ['ada', 'lin'],
    `
    -11 18:45 ada: I smell ginger through the wall. Explain yourself.
    -11 18:47 lin: 姜撞奶，第一次成功了！给你留一碗？
    -11 18:47 ada: I am already at the door
    -3 21:05 ada: 明天合唱排练，钥匙放我这儿，猫我来喂
    -3 21:09 lin: 救命恩人。猫粮在门后，她会假装没吃过
    -2 08:20 ada: She told me she had not eaten since spring.
    -2 08:22 lin: 骗子 🐈
    260m ada: Sent you the recipe, the one with 豆豉
    255m lin: 收到！周末在湖边做
    250m ada: Then I bring the rice. 豆豉 needs rice like I need coffee.
    248m ada: ☕
  `,
  );

  const leo = await between(stage, 'leo', 'lin');
  await tell(
    stage,
    leo,
    ['leo', 'lin'],
    `
    -10 22:03 leo: It is snowing in Uppsala and I miss 豆浆
    -10 22:10 lin: 十一月就下雪？
    -10 22:11 leo: It is more a rumour of snow
    -1 15:30 leo: Landing on Friday, 16:40. Two days between trains.
    -1 15:34 lin: 来吃饭！妈妈寄的辣椒酱，很危险，你会喜欢的
    -1 15:36 leo: See you Friday then 👋
  `,
  );

  const clinic = await between(stage, 'clinic', 'lin');
  await tell(
    stage,
    clinic,
    ['clinic', 'lin'],
    `
    -4 11:20 lin: 您好，想预约一次洗牙，周四下午可以吗？
    -4 11:32 clinic: 周四 15:40 有空，可以吗？
    -4 11:33 lin: 可以，谢谢！
    -4 11:35 clinic: 您的预约已确认：周四 15:40。请提前十分钟到。
  `,
  );

  const others = await between(stage, 'ada', 'noor');
  await tell(
    stage,
    others,
    ['ada', 'noor'],
    `
    -2 19:30 noor: Do you have a scanner that respects margins?
    -2 19:44 ada: I have a scanner and I have margins. Come by.
    190m noor: Margins respected. Thank you, and for the soup.
    188m ada: The soup thanks you
  `,
    { noor: 1 },
  );
  const photos = await between(stage, 'tomas', 'ada');
  await tell(
    stage,
    photos,
    ['tomas', 'ada'],
    `
    -3 20:20 tomas: Does the dog like fog?
    -3 20:22 ada: The dog likes Tomáses. Front seat, he says.
    70m tomas: Then he holds the map
  `,
    { ada: 1 },
  );
}

async function neighbours(stage: Stage): Promise<void> {
  const everyone = ['wang', 'lin', 'ada', 'zheng', 'wu'];
  stage.at('-14 08:00');
  const id = await group(stage, 'wang', '3 号楼邻居', 'house-3', ['lin', 'ada', 'zheng', 'wu']);
  const orders = oranges(96);
  await tell(
    stage,
    id,
    everyone,
    `
    -6 18:30 wu: 谁家的快递放在二楼窗台了？风大
    -6 18:34 ada: Mine, sorry, 马上拿
    -5 07:50 zheng: 电梯今天上午检修，腿脚不方便的跟我说，我背得动
    -5 07:52 wu: 郑叔威武
    -5 12:01 wang: 检修完了，都能坐了
    -3 19:12 wang: 老家的橙子到了，一箱 10 斤 45 块，要的接龙，格式：门牌 + 箱数
    ${orders.join('\n')}
    -1 21:15 wang: 接龙到此为止，一共 ${orders.length} 户，明天晚上楼下领
    -1 21:16 zheng: 我推车来，大家排队
    110m wu: 我家橙子太甜了，邻居快来尝
    82m zheng: 垃圾分类的新牌子装好了，厨余在左边
    66m wang: 明天上午 9 点停水，请提前储水
    64m ada: Water off tomorrow at nine, everyone. 浴缸装满！
    62m wang: 谢谢 Ada 翻译 🍊
  `,
    { lin: orders.length + 8, wu: 3 },
  );
  stage.at('-1 20:00');
  await stage.call('lin', 'conversation.mute', { conversationId: id, until: Number.MAX_SAFE_INTEGER });
}

/** What a group order in a Chinese house looks like: one line after another, each numbered by hand. */
function oranges(count: number): string[] {
  const boxes = ['1 箱', '2 箱', '1 箱，谢谢王阿姨', '1 箱，要甜的', '3 箱，送同事', '2 箱，我妈也要', '半箱行吗？那就 1 箱'];
  const writers = ['wu', 'zheng', 'wang', 'wu', 'ada'];
  return Array.from({ length: count }, (_, at) => {
    const minutes = 19 * 60 + 14 + at;
    const time = `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
    const door = `${1 + (at % 16)}0${1 + ((at * 3) % 4)}`;
    return `-3 ${time} ${writers[at % writers.length]!}: ${at + 1}. ${door} 室 ${boxes[(at * 5) % boxes.length]!}`;
  });
}

async function clubs(stage: Stage): Promise<void> {
  stage.at('-13 20:00');
  await befriend(stage, 'hana', 'leo');
  const runners = await group(stage, 'ada', 'Sunday runners', 'runners', ['lin', 'hana', 'leo', 'tomas']);
  await tell(
    stage,
    runners,
    ['ada', 'lin', 'hana', 'leo', 'tomas'],
    `
    -8 11:20 hana: 今日は気持ちよかった。Thank you all for waiting at the hill.
    -8 11:22 ada: Nobody waited, we were all dying
    -8 11:25 lin: 我是真的在等 😇
    -8 11:26 tomas: I have photographs that say otherwise
    -5 19:00 leo: I run with you in spirit, and by spirit I mean cake
    -1 20:10 hana: Next Sunday some of you are at the lake, yes?
    -1 20:12 ada: Lin, Tomás and me. We run there, around it, until it ends.
    220m ada: 7 km easy, 8:30 at the north gate?
    214m hana: 👍
  `,
    { tomas: 1 },
  );

  stage.at('-13 20:30');
  const books = await group(stage, 'mei', '读书会 · Book club', 'book-club', ['lin', 'ada', 'noor']);
  await tell(
    stage,
    books,
    ['mei', 'lin', 'ada', 'noor'],
    `
    -9 21:00 mei: 这个月读《长日将尽》The Remains of the Day，二十号见
    -9 21:04 noor: A whole novel about not saying things. I feel seen.
    -9 21:10 ada: Read it twice. The second time I was angry at page one already.
    -9 21:30 lin: 前两章就是一个人在夸自己的银器
    -9 21:31 mei: 接着读，银器很重要
    -4 22:10 noor: Finished. I need a walk and someone to shout at kindly.
    -4 22:15 ada: Same time, same bench?
    -1 22:30 mei: 《长日将尽》读到第三章了吗？
    -1 22:31 mei: 没读完的那位带点心 🍪
  `,
    { lin: 2 },
  );

  stage.at('-12 19:00');
  const choir = await group(stage, 'ada', 'Choir, altos', 'choir', ['lin', 'ingrid']);
  await tell(
    stage,
    choir,
    ['ada', 'lin', 'ingrid'],
    `
    -10 19:30 ingrid: Altos: bar 40 is a B flat. It has always been a B flat.
    -10 19:35 ada: We sang it as a surprise
    -10 19:36 lin: 惊喜和声
    -4 18:00 ingrid: New sheet music for the winter concert, please print your own this year
    -4 18:20 lin: 收到，打印两份
  `,
  );
}

/** What belongs to the whole server: the Lobby and the announcements. */
async function house(stage: Stage): Promise<void> {
  stage.at('-13 12:00');
  const { rooms } = await stage.call('lin', 'room.list', {});
  const lobby = rooms[0]!.conversation.id;
  const guests = ['lin', 'mei', 'ada', 'noor', 'tomas', 'leo', 'hana', 'yuki'];
  for (const who of guests) await stage.call(who, 'room.join', { conversationId: lobby });
  await tell(
    stage,
    lobby,
    guests,
    `
    -13 12:01 lin: 欢迎！Welcome. This is the Lobby: anyone on this server may walk in.
    -13 12:20 ada: It smells of fresh paint in here
    -13 12:21 tomas: I take the armchair by the window
    -12 09:02 leo: Good morning from the north 🌲
    -12 09:30 noor: Is there a house rule?
    -12 09:31 lin: 一条：好好说话。One rule: be kind, then be brief.
    -7 20:15 hana: こんばんは！Found the runners through this room, thank you.
    -7 20:16 ada: 🏃‍♀️
    -2 21:03 yuki: Who has been to the lake before? Is there a kettle?
    -2 21:06 mei: 有水壶。放心。
    -1 23:10 leo: Two days of snow rumours, one actual flake. Reporting live.
    -1 23:12 yuki: ❄️
  `,
    { lin: 2, noor: 4 },
  );

  stage.at('-13 12:30');
  await stage.call('lin', 'announcement.send', {
    text: '这里是我们自己的服务器，消息只存在家里的这台机器上。\nThis server is our own: what you write stays on the machine in our hallway.',
  });
  stage.at('-6 09:00');
  await stage.call('lin', 'announcement.send', {
    text: '每周日凌晨 3 点备份，一分钟左右，期间消息照常发送。\nBackups run on Sundays at three in the morning; you can keep writing meanwhile.',
  });
}

async function requests(stage: Stage): Promise<void> {
  const lin = idOf(stage, 'lin');
  stage.at('-1 20:20');
  await stage.call('hana', 'friend.request', { userId: lin, note: '你好，我是跑团的 Hana，想问问周日的路线。' });
  stage.at('-1 19:12');
  await stage.call('siyuan', 'friend.request', { userId: lin, note: 'Mei 的同事，一起去秋游。' });
  stage.at('-4 18:22');
  await stage.call('lin', 'friend.request', { userId: idOf(stage, 'ingrid'), note: 'Altos should stick together.' });
  stage.at('-1 20:30');
  // Not friends yet: for Lin this waits among the requests.
  const { conversation } = await stage.call('hana', 'conversation.create', { title: 'Trail half 越野半马', avatar: 'trail', memberIds: [lin, idOf(stage, 'leo')] });
  await tell(stage, conversation.id, ['hana'], `-1 20:31 hana: Half marathon on trails in spring. Anyone from the Sunday group? 不勉强！`);
}

async function leave(stage: Stage): Promise<void> {
  const times: Record<string, string> = { mei: '6m', ada: '9m', noor: '12m', tomas: '10m', zhouhang: '48m', shufen: '36m', lin: '3m', siyuan: '50m', wang: '61m', wu: '105m' };
  Object.assign(times, { zheng: '80m', hana: '213m', yuki: '-1 23:12', leo: '-1 23:10', ingrid: '-4 19:00', yeye: '-1 12:31', clinic: '-4 17:30' });
  for (const [who, when] of Object.entries(times)) await lastSeen(stage, who, when);
}
