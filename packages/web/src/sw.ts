/** The service worker. What it does is in the modules it imports; the build makes one file of them. */
import { takePushes } from './sw-push.ts';
import { keepShell } from './sw-shell.ts';

keepShell();
takePushes();
