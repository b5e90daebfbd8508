import { describeBroker } from './broker.contract.ts';
import { openLocalBroker } from './local.ts';

// It hands over within the call, so there is nothing to wait for.
describeBroker('local', async () => ({ open: async () => openLocalBroker(), settle: async () => {} }), { between: false });
