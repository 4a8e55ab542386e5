// Runs the model hop by hop, for the audio worklet at the other end of a port.
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // a step's operations are too short for more
ort.env.logLevel = "error";

let facts, session;

self.onmessage = async ({ data }) => {
  try {
    if (data.facts) {
      facts = data.facts;
      session = await ort.InferenceSession.create(data.model, {
        executionProviders: ["wasm"],
      });
      await serve()({ hop: new Float32Array(facts.hop_length) }); // warms up
      self.postMessage({ ready: true });
    } else {
      const step = serve();
      let last = Promise.resolve();
      data.port.onmessage = (event) => {
        last = last
          .then(() => step(event.data))
          .then((made) =>
            data.port.postMessage(made, [made.dry.buffer, made.wet.buffer]),
          )
          .catch(fail);
      };
    }
  } catch (error) {
    fail(error);
  }
};

function fail(error) {
  self.postMessage({ error: String(error.message ?? error) });
}

// A signal that begins: returns what enhances its hops one after the other.
function serve() {
  let state = new Float32Array(facts.state_length);
  let late = new Float32Array(facts.delay); // as late as what comes out
  return async ({ hop }) => {
    const started = performance.now();
    const made = await session.run({
      noisy: new ort.Tensor("float32", hop, [hop.length]),
      state: new ort.Tensor("float32", state, [state.length]),
    });
    state = made.next_state.data;
    const joined = new Float32Array(late.length + hop.length);
    joined.set(late);
    joined.set(hop, late.length);
    late = joined.slice(hop.length);
    return {
      dry: joined.slice(0, hop.length),
      wet: made.enhanced.data.slice(),
      milliseconds: performance.now() - started,
    };
  };
}
