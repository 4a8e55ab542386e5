/* Enhances live sound in C: raw PCM from stdin to stdout, hop by hop.
 *
 *     phasen export results/phasen_live/1234 my_live_graph --onnx
 *     cc -O2 examples/live_onnx.c -o live_onnx -lonnxruntime -lm
 *     arecord -f S16_LE -r 16000 -t raw | ./live_onnx my_live_graph/model.onnx \
 *         | aplay -f S16_LE -r 16000 -t raw
 *
 * Samples are 16-bit mono in the machine's byte order, at the model's rate.
 * As many come out as went in; the first ones are held back until the model
 * has heard enough. Needs the C API of ONNX Runtime 1.17 or later.
 */
#include <math.h>
#include <onnxruntime_c_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const OrtApi *ort;

static void stop(const char *reason)
{
    fprintf(stderr, "Error: %s\n", reason);
    exit(1);
}

/* All functions of ONNX Runtime return NULL, or what went wrong. */
static void check(OrtStatus *status)
{
    if (status) stop(ort->GetErrorMessage(status));
}

/* A number of the model's metadata. */
static long number(OrtModelMetadata *meta, OrtAllocator *memory, const char *key)
{
    char *text = NULL;
    long value;
    check(ort->ModelMetadataLookupCustomMetadataMap(meta, memory, key, &text));
    if (!text) stop("The model is no graph of a causal model.");
    value = atol(text);
    check(ort->AllocatorFree(memory, text));
    return value;
}

/* A vector of ONNX Runtime's that lies in the caller's memory. */
static OrtValue *wrap(OrtMemoryInfo *cpu, float *data, size_t length)
{
    OrtValue *value = NULL;
    int64_t shape = (int64_t)length;
    check(ort->CreateTensorWithDataAsOrtValue(
        cpu, data, length * sizeof(float), &shape, 1,
        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value));
    return value;
}

static float *zeros(size_t length)
{
    float *data = calloc(length, sizeof(float));
    if (!data) stop("There is not enough memory.");
    return data;
}

int main(int argc, char **argv)
{
    static const char *inputs[] = {"noisy", "state"};
    static const char *outputs[] = {"enhanced", "next_state"};
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    OrtModelMetadata *meta;
    OrtAllocator *memory;
    OrtMemoryInfo *cpu;
    OrtValue *noisy, *enhanced, *states[2];
    float *in, *out;
    int16_t *pcm;
    long hop, delay, length, skipped, due = 0, i;
    int newest = 0, ended = 0;

    if (argc != 2) stop("Usage: live_onnx model.onnx < noisy.raw > clean.raw");
    ort = OrtGetApiBase()->GetApi(17);
    if (!ort) stop("ONNX Runtime is older than 1.17.");
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "live_onnx", &env));
    check(ort->CreateSessionOptions(&options));
    /* A step's operations are too short for several threads. */
    check(ort->SetIntraOpNumThreads(options, 1));
    check(ort->CreateSession(env, argv[1], options, &session));

    check(ort->GetAllocatorWithDefaultOptions(&memory));
    check(ort->SessionGetModelMetadata(session, &meta));
    hop = number(meta, memory, "hop_length");
    delay = number(meta, memory, "delay");
    length = number(meta, memory, "state_length");
    fprintf(stderr, "%ld Hz, latency %ld ms\n",
            number(meta, memory, "sample_rate"),
            number(meta, memory, "latency_ms"));

    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &cpu));
    in = zeros(hop);
    out = zeros(hop);
    pcm = malloc(hop * sizeof *pcm);
    if (!pcm) stop("There is not enough memory.");
    noisy = wrap(cpu, in, hop);
    enhanced = wrap(cpu, out, hop);
    /* A step reads one state, of zeros at first, and writes the other. */
    states[0] = wrap(cpu, zeros(length), length);
    states[1] = wrap(cpu, zeros(length), length);

    skipped = delay;
    for (;;) {
        size_t count = ended ? 0 : fread(pcm, sizeof *pcm, hop, stdin);
        const OrtValue *given[2];
        OrtValue *made[2];
        long first, last;

        ended = ended || count < (size_t)hop;
        due += (long)count; /* samples that have yet to come out */
        if (ended && due == 0) break;
        for (i = 0; i < hop; i++) /* silence brings out the end */
            in[i] = i < (long)count ? pcm[i] / 32768.0f : 0.0f;
        given[0] = noisy;
        given[1] = states[newest];
        made[0] = enhanced;
        made[1] = states[1 - newest];
        check(ort->Run(session, NULL, inputs, given, 2, outputs, 2, made));
        newest = 1 - newest;

        first = skipped < hop ? skipped : hop;
        skipped -= first;
        last = hop - first < due ? hop : first + due;
        for (i = first; i < last; i++) {
            float value = rintf(out[i] * 32768.0f);
            value = value > 32767.0f ? 32767.0f : value;
            pcm[i] = (int16_t)(value < -32768.0f ? -32768.0f : value);
        }
        if (fwrite(pcm + first, sizeof *pcm, last - first, stdout)
            < (size_t)(last - first))
            stop("The output cannot be written.");
        fflush(stdout);
        due -= last - first;
    }
    return 0;
}
