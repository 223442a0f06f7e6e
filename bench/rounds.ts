import type { LoadProcess } from "./load-process.ts";
import type { FlowName } from "./load/flows.ts";
import type { Options } from "./options.ts";
import { say } from "./stage.ts";
import type { Measurement, Subject } from "./subject.ts";

/** Every round of every flow, by the name of the server. */
export type Rounds = Map<FlowName, Map<string, Measurement[]>>;

/** How often a flow is done at each server before it counts, for code to be compiled and caches to fill. */
const WARM_UP = 400;
/** Seconds after which somebody looks whether that is enough, and how often at most. */
const TURN = 1;
const TURNS = 10;

/** Measures every flow at every server; one that fails does not keep the others from telling something. */
export async function measureAll(
  subjects: readonly Subject[],
  load: LoadProcess,
  options: Options,
): Promise<Rounds> {
  const rounds: Rounds = new Map();
  for (const flow of options.flows) {
    say(`${flow} …`);
    try {
      rounds.set(flow, await takeTurns(subjects, load, flow, options));
    } catch (error) {
      say(`${flow} failed: ${error instanceof Error ? error.stack : String(error)}`);
      process.exitCode = 1;
    }
  }
  return rounds;
}

/** Measures one flow: in every round each server once, and the order turns so that nobody is always first. */
async function takeTurns(
  subjects: readonly Subject[],
  load: LoadProcess,
  flow: FlowName,
  options: Options,
): Promise<Map<string, Measurement[]>> {
  const measured = new Map<string, Measurement[]>();
  for (const subject of subjects) await warmUp(subject, load, flow, options);
  for (let round = 0; round < options.rounds; round += 1) {
    const first = round % subjects.length;
    for (const subject of [...subjects.slice(first), ...subjects.slice(0, first)]) {
      const { name } = subject.site;
      const measurement = await subject.measure(load, flow, options);
      measured.set(name, [...(measured.get(name) ?? []), measurement]);
    }
  }
  return measured;
}

/** Has a server do a flow until what follows is as it will stay. A sign-in is slow, and one second of it is few of them. */
export async function warmUp(
  subject: Subject,
  load: LoadProcess,
  flow: FlowName,
  options: Options,
): Promise<void> {
  const seconds = Math.min(TURN, options.seconds);
  for (let done = 0, turn = 0; done < WARM_UP && turn < TURNS; turn += 1) {
    const { perSecond } = await subject.measure(load, flow, { ...options, seconds });
    done += perSecond * seconds;
  }
}
