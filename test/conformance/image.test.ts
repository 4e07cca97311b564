import { ImageVm } from '../../lib/vm/image/image-vm.js';
import { describeConformance } from './suite.js';

describeConformance({
  name: 'image',
  capabilities: ['bounded-write', 'power8'],
  createVm: () => new ImageVm(),
});
