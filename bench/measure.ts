/** Rounds of measurements, interleaved, so that what else the machine does hits all alike; medians and ratios within a round. */
import type { Task, Usage } from "./worker.ts";

/** What one task cost. */
export interface Sample {
  readonly seconds: number;
  readonly clientCpu: number;
  readonly serverCpu: number;
  readonly clientPeak: number;
  readonly serverPeak: number;
}

/** One way to do the tasks. */
export interface Contender {
  readonly name: string;
  /** Undefined: it can't do this one. */
  measure(task: Task): Promise<Sample | undefined>;
  close(): Promise<void>;
}

/** The figures of one contender at one task. Rates are medians over the rounds, MB is 10^6 bytes and GB 10^9. */
export interface Figure {
  readonly case: string;
  readonly task: string;
  readonly contender: string;
  readonly rounds: number;
  readonly mbPerSecond: number;
  readonly filesPerSecond: number;
  readonly clientCpuPerGb: number;
  readonly serverCpuPerGb: number;
  /** Over all tasks that the process has done so far. */
  readonly clientPeakMb: number;
  readonly serverPeakMb: number;
  /** Median of the ratios to the first contender, of its seconds to these; 2 is twice as fast. */
  readonly toFirst: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** The sample of a task of which client and server are processes of ours. */
export function sample(seconds: number, client: readonly [Usage, Usage], server: readonly [Usage, Usage]): Sample {
  return {
    seconds,
    clientCpu: client[1].cpuSeconds - client[0].cpuSeconds,
    serverCpu: server[1].cpuSeconds - server[0].cpuSeconds,
    clientPeak: client[1].peakBytes,
    serverPeak: server[1].peakBytes,
  };
}

export interface NamedTask extends Task {
  readonly name: string;
}

/** Measures all contenders at all tasks. `warmUp` rounds aren't counted. */
export async function measure(
  caseName: string,
  contenders: readonly Contender[],
  tasks: readonly NamedTask[],
  rounds: number,
  warmUp = 1,
  progress: (text: string) => void = () => {},
): Promise<Figure[]> {
  const samples = new Map<string, (Sample | undefined)[]>();
  for (let round = -warmUp; round < rounds; round++) {
    for (const task of tasks) {
      for (const contender of contenders) {
        progress(`${caseName}: ${task.name}, ${contender.name}, round ${round + 1} of ${rounds}`);
        const taken = await contender.measure(task);
        if (round < 0) continue;
        const key = `${task.name}\0${contender.name}`;
        samples.set(key, [...(samples.get(key) ?? []), taken]);
      }
    }
  }
  const first = contenders[0]?.name;
  return tasks.flatMap((task) =>
    contenders.flatMap((contender) => {
      const own = samples.get(`${task.name}\0${contender.name}`) ?? [];
      const reference = samples.get(`${task.name}\0${first}`) ?? [];
      const taken = own.filter((each) => each !== undefined);
      if (taken.length === 0) return [];
      const of = (value: (each: Sample) => number) => median(taken.map(value));
      const gb = (task.bytes * task.files) / 1e9;
      const ratios = own.flatMap((each, round) =>
        each === undefined || reference[round] === undefined ? [] : [reference[round].seconds / each.seconds],
      );
      return [
        {
          case: caseName,
          task: task.name,
          contender: contender.name,
          rounds: taken.length,
          mbPerSecond: (gb * 1000) / of((each) => each.seconds),
          filesPerSecond: task.files / of((each) => each.seconds),
          clientCpuPerGb: of((each) => each.clientCpu) / gb,
          serverCpuPerGb: of((each) => each.serverCpu) / gb,
          clientPeakMb: Math.max(...taken.map((each) => each.clientPeak)) / 1e6,
          serverPeakMb: Math.max(...taken.map((each) => each.serverPeak)) / 1e6,
          toFirst: ratios.length === 0 ? Number.NaN : median(ratios),
        },
      ];
    }),
  );
}
