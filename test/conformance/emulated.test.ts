import { emulatedBackend } from '../../lib/testing/emulated-backend.js';
import { describeConformance } from './suite.js';

describeConformance(emulatedBackend({ host: 'power8' }));
describeConformance(emulatedBackend({ host: 'power9' }));
describeConformance(emulatedBackend({ host: 'power9', pageShift: 12 }));
