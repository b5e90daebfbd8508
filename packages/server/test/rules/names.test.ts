import { describe, expect, test } from 'vitest';
import { engines, password, unique, usePlace } from './place.ts';

const taken = { code: 'name_taken' };

describe.each(engines)('names that look like those in charge, on %s', (engine) => {
  const place = usePlace({ engine });
  const register = (name: string) => place.server.register(unique('person'), { name, password });

  test('[US5] nobody comes in, or calls themselves, what looks like an operator or reads as the server; operators do as they like', async () => {
    const operator = await place.operator();
    await operator.call('user.update', { name: 'Nina' });
    const anna = await place.person();
    for (const name of ['Nіna', 'Nına', 'Ｎｉｎａ', 'Admin', 'аdmin', '管理员']) {
      await expect(register(name)).rejects.toMatchObject(taken);
      await expect(place.server.guest(name)).rejects.toMatchObject(taken);
      await expect(anna.call('user.update', { name })).rejects.toMatchObject(taken);
    }
    expect((await anna.call('user.get', { userId: anna.id })).user.name).toBe('anna');
    // People are called alike, and honestly.
    for (const name of ['Nina', 'nina', 'Ninа Simone', 'Nino']) expect((await register(name)).user.name).toBe(name);
    expect((await operator.call('user.update', { name: 'Admin' })).user.name).toBe('Admin');
    await expect(register('Nіna')).resolves.toBeDefined();
    await operator.call('user.update', { name: 'Nina' });
  });

  test('[US5] in a group nobody is called, or comes in, as what looks like who governs it', async () => {
    const { anna, bert, cleo, conversationId } = await place.group();
    await anna.call('user.update', { name: 'Ella' });
    await expect(bert.call('user.update', { name: 'E1la' })).rejects.toMatchObject(taken);
    expect((await bert.call('user.update', { name: 'ella' })).user.name).toBe('ella');
    // Of members that is nobody's affair, and neither where one is in no group with them.
    expect((await bert.call('user.update', { name: 'Cleо' })).user.name).toBe('Cleо');
    const double = await place.connect(await register('EIla'));
    await expect(bert.call('member.add', { conversationId, userIds: [double.id] })).rejects.toMatchObject({
      ...taken,
      message: 'The name of EIla looks like that of somebody who governs this group.',
    });
    expect((await anna.call('member.list', { conversationId })).members.map(({ userId }) => userId).toSorted()).toEqual([anna.id, bert.id, cleo.id].toSorted());
    await double.call('user.update', { name: 'Ella' });
    await bert.call('member.add', { conversationId, userIds: [double.id] });
    // Who governs a group is not held up by those in it.
    await anna.call('user.update', { name: 'Bеrt' });
  });
});
