import { describe, expect, test } from 'vitest';
import { engines, usePlace } from './place.ts';

const named = async (url: string): Promise<{ name: string; nameFixed: boolean }> => (await fetch(`${url}/api/server`)).json() as Promise<{ name: string; nameFixed: boolean }>;

describe.each(engines)('the site on %s', (engine) => {
  const place = usePlace({ engine });

  test('[AU40] an operator names the site, and the name is there before anybody signs in, and after a restart', async () => {
    expect(await named(place.server.url)).toMatchObject({ name: 'Kith', nameFixed: false });
    const operator = await place.operator();
    expect(await operator.call('site.rename', { name: ' Lindenhof  4 ' })).toEqual({ name: 'Lindenhof 4' });
    expect(await named(place.server.url)).toMatchObject({ name: 'Lindenhof 4', nameFixed: false });
    await place.server.restart();
    expect(await named(place.server.url)).toMatchObject({ name: 'Lindenhof 4' });
  });
});

describe('a site that is named by its configuration', () => {
  const place = usePlace({ config: { siteName: 'The Office' } });

  test('[AU40] is renamed by nobody', async () => {
    const operator = await place.operator();
    await expect(operator.call('site.rename', { name: 'Mine' })).rejects.toMatchObject({ code: 'forbidden' });
    expect(await named(place.server.url)).toMatchObject({ name: 'The Office', nameFixed: true });
  });
});
