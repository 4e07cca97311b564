import { probe, type ProbeResult } from '../../vm/kvm/probe.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import type { Output } from '../output.js';
import { formatPageSize } from '../report/format.js';
import { jsonDocument } from '../report/json.js';

/** What `kvm-htab probe` takes. */
export interface ProbeCommandOptions {
  readonly device: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/**
 * Looks at this machine's KVM.
 *
 * @returns the exit code: 0 if guests' tables can be reached here
 */
export async function probeMachine(
  { device, json = false, quiet = false }: ProbeCommandOptions,
  output: Output,
): Promise<number> {
  const findings = await probe({ device });
  if (json) output.stdout.write(jsonDocument(asDocument(findings)));
  else if (!quiet) output.stdout.write(describe(findings));
  return findings.problem === undefined ? EXIT_CODES.ok : EXIT_CODES.unavailable;
}

/** The findings with an error that JSON can carry. */
function asDocument({ problem, ...findings }: ProbeResult): object {
  if (problem === undefined) return { usable: true, ...findings };
  const { code, reason, message, hint } = problem;
  return { usable: false, ...findings, problem: { code, reason, message, hint } };
}

function describe(findings: ProbeResult): string {
  const {
    platform,
    arch,
    byteOrder,
    kernel,
    device,
    apiVersion,
    flavour,
    hostMmu,
    capabilities,
    smmu,
    problem,
  } = findings;
  const order = byteOrder === 'LE' ? 'little-endian' : 'big-endian';
  const lines: (readonly [string, string | undefined])[] = [
    ['machine', `${platform} ${kernel}, ${arch}, ${order}`],
    ['device', apiVersion === undefined ? device : `${device}, KVM API ${apiVersion}`],
    ['flavour', flavour],
    ['host MMU', hostMmu],
    ['capabilities', capabilities && capabilityList(capabilities)],
    ['page sizes', smmu?.segments.map(segmentText).join('; ')],
    ['kvm backend', problem === undefined ? 'usable' : `not usable: ${problem.message}`],
  ];
  const known = lines.filter(([, text]) => text !== undefined);
  return known.map(([title, text]) => `${title.padEnd(14)}${text!}\n`).join('');
}

function capabilityList(capabilities: NonNullable<ProbeResult['capabilities']>): string {
  const had = Object.entries(capabilities).filter(([, value]) => value !== 0);
  return had.length === 0 ? 'none of those wanted' : had.map(([name, value]) => `${name}=${value}`).join(' ');
}

function segmentText({
  basePageShift,
  pageSizes,
}: NonNullable<ProbeResult['smmu']>['segments'][number]): string {
  return `${formatPageSize(basePageShift)} as ${pageSizes.map(({ pageShift }) => formatPageSize(pageShift)).join(', ')}`;
}
