import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestServer, engines, startTestServer } from './harness.ts';
import { durableMethods, jwtAudience, jwtSecret, scenarioUrl, scenarios } from './scenarios.ts';
import { RealWorld } from './world.ts';

test('[ST3] every durable method has a scenario in which the laws are tested', () => {
  expect(Object.keys(scenarios).sort()).toEqual([...durableMethods].sort());
});

describe.each(engines)('on %s', (engine) => {
  let server: TestServer;
  let operator: { token: string };

  beforeAll(async () => {
    server = await startTestServer({ engine, config: { publicUrl: scenarioUrl, jwtAlg: 'HS256', jwtKey: jwtSecret, jwtAudience } });
    operator = await server.operator();
  });

  afterAll(() => server.close());

  test.each(durableMethods)('[ST3] after %s snapshot plus pushes equals a fresh snapshot, and [ST4] so does every earlier state plus changes', async (method) => {
    const world = new RealWorld(server, { operator, watched: true });
    await scenarios[method]!(world);
    const streams = await world.check();
    world.close();
    expect(streams).toBeGreaterThan(0);
  });
});
