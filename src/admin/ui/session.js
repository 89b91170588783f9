// Who is signed in, for the screens: a viewer is shown no button that would be refused.
import { createContext, useContext } from './view.js';

export const Session = createContext(null);

/** Whether who is signed in may change anything. */
export function useMayChange() {
  return useContext(Session)?.role === 'admin';
}
