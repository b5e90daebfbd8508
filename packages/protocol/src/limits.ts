/**
 * Every bound that both sides must agree on: name, unit, reason. Nothing here is a taste; each has a test that hits it.
 * Sizes of text are UTF-16 code units (what `string.length` counts), sizes on the wire are bytes.
 */
export const limits = {
  /** Bytes of one inbound frame or API body. */
  frameBytes: 65_536,
  /** Bytes of what a browser reports of a page that broke its content security policy. */
  policyReportBytes: 8_192,
  /** Bytes that a socket may send before it has said hello. */
  unauthenticatedBytes: 4_096,
  /** Milliseconds that a socket may stay silent before its hello. */
  helloMs: 10_000,
  /** Bytes queued towards one connection beyond which it is behind: its requests wait, and in time it counts as a slow consumer. */
  outboundBytes: 1_048_576,
  /** Milliseconds that a connection may be behind. */
  outboundMs: 10_000,
  /** Bytes queued towards one connection, whatever they came from: beyond, it goes at once. */
  outboundMost: 8_388_608,
  /** Milliseconds that one connection lasts, a tenth more or less. */
  connectionMs: 86_400_000,
  /** Requests that the core of one server has been asked and not answered, and UTF-16 units of them: beyond, others are busy. */
  coreRequests: 20_000,
  coreRequestUnits: 67_108_864,
  /** UTF-16 units that the core has said and the gateway has not read: beyond, the core asks its database nothing until half of it is read. */
  coreUnread: 16_777_216,
  /** Levels of nesting in any JSON we read. */
  jsonDepth: 12,
  /** UTF-16 units of one message's text. */
  messageText: 8_000,
  /** Marks that may pile up on one base character before the text counts as abuse. */
  combiningMarks: 8,
  /** UTF-16 units of an id made by the server. */
  id: 64,
  /** UTF-16 units of the id of a request, and of its method. */
  requestId: 64,
  clientIdMin: 8,
  clientIdMax: 64,
  /** UTF-16 units of what a picture is drawn from. */
  avatar: 64,
  /** UTF-16 units of credentials: a code by which people register, a session's token, another site's JWT. */
  invite: 64,
  token: 128,
  jwt: 8_192,
  /** UTF-16 units of the name of a time zone. */
  timeZone: 64,
  attachments: 10,
  /** Bytes of one file, unless the operator says otherwise. */
  fileBytes: 104_857_600,
  /** UTF-16 units of a file's name. */
  fileName: 255,
  /** UTF-16 units of the tiny picture that stands for one until it is there. */
  preview: 1_000,
  /** Bars of the waveform of something spoken. */
  waveformBars: 64,
  /** Milliseconds that a sound or a video plays, at most: a day. */
  durationMs: 86_400_000,
  /** Milliseconds of one voice message. */
  voiceMs: 900_000,
  /** Pixels of a side of a picture or a video. */
  pictureSide: 16_384,
  /** UTF-16 units of an address of which a preview is made. */
  linkUrl: 2_048,
  /** Bytes of a picture that is looked at, and not only kept; its pixels, and the frames of one that moves. */
  pictureBytes: 67_108_864,
  picturePixels: 40_000_000,
  pictureFrames: 200,
  /** Milliseconds of processor time, and MiB of memory, that looking at one picture may take. */
  pictureMs: 5_000,
  pictureMemoryMib: 768,
  /** Bytes of the picture of a person or a group. */
  avatarBytes: 4_194_304,
  /** UTF-16 units of what a preview shows of what a page says. */
  linkTitle: 200,
  linkDescription: 300,
  /** Places for files that one person has reserved and not filled. */
  openUploads: 50,
  /** Uploads of one person that run at the same time. */
  uploadsAtOnce: 6,
  /** Bytes a second that an upload must come to after its first ten, or it is cut; it can be resumed. */
  uploadBytesPerSecond: 8_192,
  handleMin: 2,
  handleMax: 32,
  name: 64,
  title: 64,
  bio: 500,
  /** UTF-16 units of the note that goes with a friend request. */
  note: 200,
  remark: 64,
  /** UTF-16 units of the name a program gives its device. */
  device: 64,
  passwordMin: 10,
  passwordMax: 128,
  /** Passkeys of one person. */
  passkeysPerUser: 20,
  /** UTF-16 units of each part of what a browser says of a passkey. */
  passkeyPart: 8_192,
  /** UTF-16 units of a code of an app, or a recovery code, however it was typed. */
  factorCode: 64,
  /** Recovery codes that are made at a time. */
  recoveryCodes: 10,
  /** Milliseconds in which the second step of signing in, or the answer to a challenge, has to come. */
  ticketMs: 300_000,
  /** Milliseconds for which having shown who one is counts for what is sensitive. */
  confirmedMs: 600_000,
  /** Milliseconds after which the token of a session is exchanged for a new one, where it is a cookie. */
  tokenMs: 86_400_000,
  /** Milliseconds for which the one before is good after that, and for which a new one is not counted as arrived. */
  tokenOverlapMs: 60_000,
  /** Members of one group. */
  groupMembers: 5_000,
  /** Milliseconds for which somebody who was removed from a room stays out. */
  roomBarMs: 86_400_000,
  /** People named in one `conversation.create` or `member.add`. */
  membersPerCall: 200,
  // What one person does within a time, wherever it may still have room. Where limits on rates are off there are none of these.
  /** Groups that one person makes. */
  groupsPerHour: 20,
  groupsPerDay: 200,
  /** People whom one person puts into groups, new ones and old. */
  addedPerHour: 500,
  /** People without a friendship whom a new account writes to first, or asks to be friends; and milliseconds for which it is new. */
  strangersPerHour: 20,
  newAccountMs: 259_200_000,
  /** Files that one person reserves places for, and KiB of them. */
  uploadsPerHour: 500,
  uploadKibPerDay: 10_485_760,
  /** Changes of names and pictures, of oneself and of groups: each is a commit in every stream where it stands. */
  renamesPerMinute: 10,
  /** Rooms and groups that one person enters by themselves, or leaves. */
  comingsPerMinute: 10,
  /** Invitations of one operator that can still be used. */
  openInvites: 100,
  /** Conversations one person may be in. */
  conversationsPerUser: 2_000,
  pinnedConversations: 50,
  // What a person's stream carries is bounded kind by kind, and the snapshot carries all of it.
  /** Friends of one person, those they have asked or blocked, and those with a remark. */
  friendsPerUser: 2_000,
  /** Requests that wait for one person's answer. */
  incomingRequests: 200,
  /** Drafts of one person, and the bytes of all of them. */
  draftsPerUser: 500,
  draftBytes: 1_048_576,
  /** Messages that one person has deleted for themselves. */
  hiddenMessages: 5_000,
  /** Voice messages of one conversation that are known one by one to be heard; with more, all up to the oldest of them count as heard. */
  heardSeqs: 100,
  /** Client ids of one person that are kept as taken back. */
  withdrawn: 1_000,
  /** Reports of one person that are open. */
  openReports: 20,
  /** Messages that go with one report, the UTF-16 units of each, and how many reports are answered at once. */
  reportedMessages: 20,
  reportedText: 1_000,
  reportsPage: 10,
  /** Signed-in devices of one person. */
  sessionsPerUser: 20,
  /** Devices of one person that get pushes. */
  pushSubscriptions: 10,
  /** UTF-16 units of the URL that a browser gives for pushes. */
  pushEndpoint: 1_000,
  /** Bytes of one push before it is encrypted; push services take a little less than 4 KiB. */
  pushBytes: 3_072,
  /** Days after which the messages of a conversation may be made to go, at most. */
  retentionDays: 3_650,
  /** Messages in one page of history. */
  historyPage: 100,
  /** Bytes of text in one page of history or one snapshot; the page ends early and says `more`. */
  pageBytes: 262_144,
  /** Latest messages that a conversation's snapshot carries. */
  snapshotMessages: 30,
  /** Members that a conversation's snapshot carries; the rest come by `member.list`. */
  snapshotMembers: 1_000,
  /** Entities that `stream.changes` replays before it answers `tooOld`. */
  resumeEntities: 500,
  /** Above this many members a conversation is followed in full only while open. */
  largeConversationMembers: 1_000,
  /** Above this many members there are no delivered and read receipts, and no typing. */
  attentionMembers: 200,
  /** People whose presence one connection may watch. */
  presenceWatched: 500,
  /** People listed by `room.online`; the count is always exact. */
  roomOnlineUsers: 200,
  /** Results of one search for people. */
  searchResults: 20,
  /** Streams that `stream.heads` answers at once. */
  headsPerCall: 500,
} as const;

export type Bound = keyof typeof limits;
/** What the operator bounds by a setting. */
export type SetBound = 'filesTotal' | 'filesPerUser' | 'signIn' | 'registration';

/** A client sends `typing.set` at most this often, and a shown "typing…" ends this long after the last signal. Milliseconds. */
export const typingEveryMs = 3_000;
export const typingShownMs = 6_000;
