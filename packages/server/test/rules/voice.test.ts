import { type FileRef, limits, userStream } from '@kith/protocol';
import { describe, expect, test } from 'vitest';
import { type Place, type Someone, clientId, engines, usePlace } from './place.ts';

const ogg = Buffer.from('OggS\0 and what was said');
const sound = { durationMs: 3_000, waveform: [0, 12, 31, 7] };

const record = ({ server }: Place, person: Someone, said: { durationMs?: number; waveform?: number[] } = sound, bytes = ogg): Promise<FileRef> =>
  server.upload(person, bytes, { name: 'voice.ogg', type: 'audio/ogg', ...said });

const send = (person: Someone, conversationId: string, { id: fileId }: { id: string }, text = '') =>
  person.call('message.send', { conversationId, clientId: clientId(), type: 'voice', text, fileId });

const speak = async (place: Place, person: Someone, conversationId: string) => (await send(person, conversationId, await record(place, person))).message;

describe.each(engines)('voice messages on %s', (engine) => {
  const place = usePlace({ engine });

  test('[VO1] a voice message carries a sound with its length and its waveform, and is the same message when it is sent again', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const file = await record(place, anna);
    expect(file).toMatchObject({ type: 'audio/ogg', ...sound });
    const params = { conversationId, clientId: clientId(), type: 'voice', text: '', fileId: file.id } as const;
    const { message } = await anna.call('message.send', params);
    expect(message).toMatchObject({ type: 'voice', text: '', file });
    expect(await anna.call('message.send', params)).toEqual({ message });
    await expect(anna.call('message.send', { ...params, type: 'file' })).rejects.toMatchObject({ code: 'client_id_reused' });
    expect((await place.server.download(bert, file.id)).bytes).toEqual(ogg);
    // It may have words, and be passed on.
    const forwarded = await send(bert, conversationId, file, 'listen to this');
    expect(forwarded.message).toMatchObject({ type: 'voice', text: 'listen to this', file });
    expect((await anna.call('message.delete', { messageId: message.id })).message).not.toHaveProperty('file');
  });

  test('[VO1] what is no sound, or does not say how long and how loud it is, is refused in words and is not kept', async () => {
    const { anna, conversationId, stream } = await place.direct();
    const before = await place.head(stream);
    const refused = async (file: Promise<FileRef>): Promise<string> => {
      const error = await send(anna, conversationId, await file).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'bad_request', extra: { path: 'params.fileId' } });
      return (error as Error).message;
    };
    const mp4 = Buffer.from('\0\0\0\x20ftypisom and a film', 'latin1');
    for (const bytes of [Buffer.from('only text'), mp4, Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')])
      expect(await refused(record(place, anna, sound, bytes))).toMatch(/sound that can be played/);
    for (const said of [{}, { durationMs: 3_000 }, { waveform: [1] }, { durationMs: 0, waveform: [1] }, { durationMs: 3_000, waveform: [] }])
      expect(await refused(record(place, anna, said))).toMatch(/durationMs and waveform/);
    expect(await refused(record(place, anna, { ...sound, durationMs: limits.voiceMs + 1 }))).toContain(String(limits.voiceMs));
    await expect(anna.call('message.send', { conversationId, clientId: clientId(), type: 'voice', text: 'words alone' })).rejects.toMatchObject({ code: 'bad_request' });
    expect(await place.head(stream)).toEqual(before);
    await send(anna, conversationId, await record(place, anna, { ...sound, durationMs: limits.voiceMs }));
  });

  test('[VO2] what is heard on one device is heard on all of that person, once, and nobody else learns of it', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const message = await speak(place, anna, conversationId);
    const second = await place.device(bert);
    const own = userStream(bert.id);
    const { version } = await place.head(own);
    await anna.settle();
    const others = anna.heard().length;
    const { heard } = await bert.call('voice.heard', { messageId: message.id });
    expect(heard).toEqual({ kind: 'heard', conversationId, version: version + 1, upTo: 0, seqs: [message.seq] });
    expect(await bert.call('voice.heard', { messageId: message.id })).toEqual({ heard });
    expect(await second.call('voice.heard', { messageId: message.id })).toEqual({ heard });
    await Promise.all([second.settle(), anna.settle()]);
    expect(second.pushes(own).map(({ entities }) => entities)).toEqual([[heard]]);
    expect(anna.heard()).toHaveLength(others);
    expect(await place.head(own)).toMatchObject({ version: version + 1 });
  });

  test('[VO2] one’s own counts as heard; what is not spoken, or not one’s to read, has no such mark', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const message = await speak(place, anna, conversationId);
    expect((await anna.call('voice.heard', { messageId: message.id })).heard).toMatchObject({ version: 0, upTo: 0, seqs: [] });
    await expect(bert.call('voice.heard', { messageId: (await anna.say(conversationId)).id })).rejects.toMatchObject({ code: 'bad_request' });
    for (const messageId of [message.id, 'nobody-1']) await expect((await place.person()).call('voice.heard', { messageId })).rejects.toMatchObject({ code: 'not_found' });
  });

  test('[VO3] so many are known one by one; beyond, all up to the oldest of them count as heard', async () => {
    const { anna, bert, conversationId } = await place.direct();
    const file = await record(place, anna);
    const spoken = [];
    for (let count = 0; count < limits.heardSeqs + 3; count += 1) spoken.push((await send(anna, conversationId, file)).message);
    // The first of all is passed over, and the others are heard in the order in which they came.
    for (const { id } of spoken.slice(1, -1)) await bert.call('voice.heard', { messageId: id });
    const snapshot = await bert.call('stream.snapshot', { stream: userStream(bert.id) });
    const seqs = spoken.slice(2, -1).map(({ seq }) => seq);
    expect(seqs).toHaveLength(limits.heardSeqs);
    expect(snapshot.entities.filter(({ kind }) => kind === 'heard')).toMatchObject([{ upTo: spoken[1]!.seq, seqs }]);
    // Below the floor all is known; above it one after another still counts.
    expect((await bert.call('voice.heard', { messageId: spoken[0]!.id })).heard).toMatchObject({ upTo: spoken[1]!.seq, seqs });
    expect((await bert.call('voice.heard', { messageId: spoken.at(-1)!.id })).heard).toMatchObject({ upTo: spoken[2]!.seq, seqs: [...seqs.slice(1), spoken.at(-1)!.seq] });
  });

  test('[VO3] of a conversation that one has left no mark is kept', async () => {
    const { anna, bert, conversationId } = await place.group();
    const message = await speak(place, anna, conversationId);
    await bert.call('voice.heard', { messageId: message.id });
    await anna.call('member.remove', { conversationId, userId: bert.id });
    const heard = async () => (await bert.call('stream.snapshot', { stream: userStream(bert.id) })).entities.filter(({ kind }) => kind === 'heard');
    expect(await heard()).toEqual([]);
    await bert.settle();
    expect(bert.pushes(userStream(bert.id)).at(-1)!.entities).toContainEqual({ kind: 'heard', conversationId, version: expect.any(Number), upTo: 0, seqs: [] });
    await anna.call('member.add', { conversationId, userIds: [bert.id] });
    expect(await heard()).toEqual([]);
  });
});
