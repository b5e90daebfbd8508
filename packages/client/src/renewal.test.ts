import { expect, test } from 'vitest';
import { FakeClock } from '../test/fake-clock.ts';
import { Renewal } from './renewal.ts';

interface Asked {
  url: string;
  at: number;
}

function begin(answers: (object | 'lost')[], leads = () => true) {
  const clock = new FakeClock();
  const asked: Asked[] = [];
  const fetch = async (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
    expect(init).toMatchObject({ method: 'POST', credentials: 'same-origin' });
    asked.push({ url: String(url), at: clock.now() });
    const answer = answers.shift() ?? { renewed: false };
    if (answer === 'lost') throw new TypeError('network');
    return Response.json(answer);
  };
  const renewal = new Renewal({ url: 'http://server.test', fetch, clock, random: () => 0.5, leads });
  const began = clock.now();
  return { clock, renewal, times: () => asked.map(({ at }) => (at - began) / 1_000), urls: () => new Set(asked.map(({ url }) => url)) };
}

test('[AU50] the client asks for another cookie half a minute to a minute after it connected, and then every hour', async () => {
  const { clock, renewal, times, urls } = begin([]);
  await clock.advance(100_000);
  expect(times()).toEqual([]);
  renewal.start();
  // And again, when the connection is lost and comes back.
  await clock.advance(10_000);
  renewal.start();
  await clock.advance(2 * 3_600_000 + 90_000);
  expect(times()).toEqual([145, 3_745, 7_345]);
  expect(urls()).toEqual(new Set(['http://server.test/api/session.renew']));
  renewal.stop();
  await clock.advance(10 * 3_600_000);
  expect(times()).toHaveLength(3);
});

test('[AU50] a new one is used once it must be on the disk, and a lost answer is asked for again with the next', async () => {
  const { clock, renewal, times } = begin([{ renewed: true }, { renewed: false }, 'lost', { renewed: true }]);
  renewal.start();
  await clock.advance(3 * 3_600_000);
  expect(times()).toEqual([45, 135, 3_735, 7_335, 7_425]);
  renewal.stop();
});

test('[AU50] after a change in how one signs in it asks at once; of several tabs only the one that leads', async () => {
  let leads = true;
  const { clock, renewal, times } = begin([{ renewed: true }], () => leads);
  renewal.start();
  renewal.now();
  await clock.advance(1_000);
  expect(times()).toEqual([0]);
  leads = false;
  await clock.advance(3_600_000);
  expect(times()).toEqual([0]);
  leads = true;
  await clock.advance(3_600_000);
  expect(times().length).toBe(2);
  renewal.stop();
});
