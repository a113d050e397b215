/** What whoever is signed in may do: looking is for all, changing for administrators. The collector decides; this only spares a refusal. */
import { useConsole } from '../context.ts';

/** Whether things can be changed by this session. */
export function useMayChange(): boolean {
  const status = useConsole().session.status.value;
  return status.kind === 'signed-in' && status.role === 'admin';
}
