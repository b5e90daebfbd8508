import type { Assertion, Params } from '@kith/protocol';
import { computed } from 'vue';
import { useServer } from './useServer.ts';

/** Why this page cannot have passkeys; empty: it can. */
export type NoPasskeys = '' | 'insecure' | 'address' | 'elsewhere' | 'browser';

type Options = { challenge: string };

/** Loaded when somebody uses a passkey, and not before. */
const library = () => import('@simplewebauthn/browser');

/** What browser and device do about passkeys. */
export function usePasskey() {
  const { server } = useServer();
  return {
    /** Browsers have them for pages that came by a name, over HTTPS or from the machine itself; this server for one origin. */
    missing: computed<NoPasskeys>(() => {
      if (!isSecureContext) return 'insecure';
      if (/^[\d.]+$|^\[/.test(location.hostname)) return 'address';
      if (!('PublicKeyCredential' in globalThis)) return 'browser';
      return server.value && server.value.passkeys !== location.origin ? 'elsewhere' : '';
    }),
    /** Where they are, if not here. */
    origin: computed(() => server.value?.passkeys ?? ''),

    /** The person shows one. @throws NotAllowedError: they did not want to */
    async show(options: Options): Promise<Assertion> {
      const { startAuthentication } = await library();
      const { id, response } = await startAuthentication({ optionsJSON: options });
      const { clientDataJSON, authenticatorData, signature, userHandle } = response;
      return { id, clientDataJSON, authenticatorData, signature, ...(userHandle && { userHandle }) };
    },

    /** A new one. @throws NotAllowedError: they did not want to; InvalidStateError: there is one on this device */
    async make(options: Options): Promise<Omit<Params<'passkey.add'>, 'name'>> {
      const { startRegistration } = await library();
      const { id, response } = await startRegistration({ optionsJSON: options as Parameters<typeof startRegistration>[0]['optionsJSON'] });
      return { id, clientDataJSON: response.clientDataJSON, attestationObject: response.attestationObject };
    },
  };
}
