/** Every fuzz target on its corpus as it is, and for about a second on what is made of it. FUZZ_SEED replays a run; `npm run fuzz` runs longer. */
import { corpusOf, inputAt } from "./fuzz.js";
import { targets } from "./targets.js";

const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const RUN_MS = 1000;

describe(`fuzzed input (FUZZ_SEED=${seed})`, () => {
  for (const target of targets) {
    const corpus = corpusOf(target);

    it(`of target ${target.name} is refused or read, as it stands in the corpus`, async () => {
      for (const [name, input] of corpus) {
        try {
          await target.run(input);
        } catch (error) {
          throw new Error(`test/fixtures/fuzz/${target.name}/${name}`, { cause: error });
        }
      }
    });

    it(`of target ${target.name} is refused or read, changed at random`, async () => {
      const inputs = corpus.map(([, input]) => input);
      for (let at = 0, until = Date.now() + RUN_MS; Date.now() < until; at++) {
        try {
          await target.run(inputAt(target, inputs, seed, at));
        } catch (error) {
          throw new Error(`npm run fuzz -- --seed ${seed} --at ${at} ${target.name}`, { cause: error });
        }
      }
    });
  }
});
