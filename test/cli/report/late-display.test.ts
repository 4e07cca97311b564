import { expect, onTestFinished, test, vi } from 'vitest';
import { lateDisplay } from '../../../lib/cli/report/late-display.js';

test('shows no progress in the first second, and all of it afterwards', () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(0);
  onTestFinished(() => {
    now.mockRestore();
  });
  const display = { update: vi.fn(), stop: vi.fn() };
  const late = lateDisplay(display);
  late.update(1);
  now.mockReturnValue(999);
  late.update(2);
  expect(display.update).not.toHaveBeenCalled();
  now.mockReturnValue(1000);
  late.update(3);
  late.stop();
  expect(display.update.mock.calls).toEqual([[3]]);
  expect(display.stop).toHaveBeenCalledOnce();
});
