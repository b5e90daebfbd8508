import { onScopeDispose } from 'vue';
import { openReports } from './open-reports.ts';
import { useClient } from './useClient.ts';

/** Follows how many reports wait, for as long as an operator is here. What they say is shown to who asks for it, and shows who they are. */
export function useOpenReports(): void {
  const client = useClient();
  async function load() {
    if (client.connection.at !== 'ready') return;
    try {
      openReports.value = (await client.call('report.waiting', {})).open;
    } catch {
      // Without an answer there is no number to show.
    }
  }
  void load();
  onScopeDispose(client.onConnection(() => void load()));
  onScopeDispose(client.onSignal((signal) => signal.signal === 'reports' && (openReports.value = signal.data.open)));
  onScopeDispose(() => (openReports.value = 0));
}
