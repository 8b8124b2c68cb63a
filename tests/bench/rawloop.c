/* The floor under a mint: the same PKCS#11 calls, one thread, straight from C, on a token that is
 * already set up. Prints one line of JSON. Handles are resolved once; no length queries.
 *
 *   rawloop MODULE TOKEN SERVER RELEASE SECONDS DEVICES   (the PIN comes on standard input)
 *
 * RELEASE is trusted (vault, escrow, server SERVER) or roster (vault, escrow, DEVICES session
 * public keys, made before the clock starts). Each mint: generate an AES-256 session key, wrap it to
 * every recipient (RSA-OAEP, SHA-1), AES-CMAC of 120 bytes, destroy it, ECDSA P-256 over 32 bytes,
 * and HMAC-SHA-256 twice over 400 bytes. */
#define CRYPTOKI_GNU 1
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_RECIPIENTS 128
#define CHECK(call) check((call), #call)
#define ATTRIBUTE(type, value) {(type), &(value), sizeof(value)}

enum part { GENERATE, WRAP, COMMIT, DESTROY, SIGN, MAC, PARTS };
static const char *const part_names[PARTS] = {"generate", "wrap", "cmac", "destroy", "ecdsa", "hmac"};

static struct ck_function_list *p11;
static ck_session_handle_t session;
static unsigned char yes = 1, no = 0;
static double spent[PARTS];

struct token {
  ck_object_handle_t recipients[MAX_RECIPIENTS], manifest, row_mac;
  int count, trusted;
};

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "rawloop: %s: %s\n", what, detail);
  exit(1);
}

static void check(ck_rv_t code, const char *call) {
  char text[32];
  snprintf(text, sizeof text, "CKR 0x%lx", code);
  if (code != CKR_OK) fail(call, text);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void load_module(const char *path) {
  void *module = dlopen(path, RTLD_NOW);
  if (!module) fail(path, dlerror());
  CK_C_GetFunctionList list = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
  if (!list) fail(path, "is no PKCS#11 module");
  CHECK(list(&p11));
  CHECK(p11->C_Initialize(NULL));
}

static ck_slot_id_t find_slot(const char *label) {
  ck_slot_id_t slots[64];
  unsigned long count = 64;
  CHECK(p11->C_GetSlotList(1, slots, &count));
  for (unsigned long i = 0; i < count; i++) {
    struct ck_token_info info;
    CHECK(p11->C_GetTokenInfo(slots[i], &info));
    size_t length = strlen(label);
    int padded = 1;
    for (size_t k = length; k < sizeof info.label; k++) padded &= info.label[k] == ' ';
    if (length <= sizeof info.label && padded && !memcmp(info.label, label, length)) return slots[i];
  }
  fail("no token", label);
  return 0;
}

static void log_in(ck_slot_id_t slot) {
  char pin[256];
  if (!fgets(pin, sizeof pin, stdin)) fail("standard input", "holds no PIN");
  pin[strcspn(pin, "\n")] = 0;
  CHECK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
  CHECK(p11->C_Login(session, CKU_USER, (unsigned char *)pin, strlen(pin)));
  memset(pin, 0, sizeof pin);
}

static ck_object_handle_t find(ck_object_class_t kind, const char *label) {
  struct ck_attribute template[] = {ATTRIBUTE(CKA_CLASS, kind), {CKA_LABEL, (void *)label, strlen(label)}};
  ck_object_handle_t found[2];
  unsigned long count = 0;
  CHECK(p11->C_FindObjectsInit(session, template, 2));
  CHECK(p11->C_FindObjects(session, found, 2, &count));
  CHECK(p11->C_FindObjectsFinal(session));
  if (count != 1) fail("not exactly one object", label);
  return found[0];
}

/* A device's key as a session object. Its modulus is the vault's: wrapping costs the same. */
static ck_object_handle_t device(ck_object_handle_t like) {
  unsigned char modulus[512], exponent[] = {1, 0, 1};
  struct ck_attribute read = ATTRIBUTE(CKA_MODULUS, modulus);
  CHECK(p11->C_GetAttributeValue(session, like, &read, 1));
  ck_object_class_t kind = CKO_PUBLIC_KEY;
  ck_key_type_t type = CKK_RSA;
  struct ck_attribute template[] = {ATTRIBUTE(CKA_CLASS, kind),
                                    ATTRIBUTE(CKA_KEY_TYPE, type),
                                    ATTRIBUTE(CKA_TOKEN, no),
                                    ATTRIBUTE(CKA_WRAP, yes),
                                    ATTRIBUTE(CKA_ENCRYPT, no),
                                    ATTRIBUTE(CKA_VERIFY, no),
                                    {CKA_MODULUS, modulus, read.value_len},
                                    ATTRIBUTE(CKA_PUBLIC_EXPONENT, exponent)};
  ck_object_handle_t made;
  CHECK(p11->C_CreateObject(session, template, 8, &made));
  return made;
}

static struct token resolve(const char *server, const char *release, int devices) {
  struct token token = {.trusted = !strcmp(release, "trusted")};
  char label[128];
  snprintf(label, sizeof label, "vault/1/%s", release);
  token.recipients[token.count++] = find(CKO_PUBLIC_KEY, label);
  token.recipients[token.count++] = find(CKO_PUBLIC_KEY, "escrow/1");
  snprintf(label, sizeof label, "server/%s", server);
  if (token.trusted) token.recipients[token.count++] = find(CKO_PUBLIC_KEY, label);
  for (int i = 0; i < devices; i++) token.recipients[token.count++] = device(token.recipients[0]);
  token.manifest = find(CKO_PRIVATE_KEY, "manifest/1");
  token.row_mac = find(CKO_SECRET_KEY, "row-mac/1");
  return token;
}

static ck_object_handle_t generate(int trusted) {
  unsigned long length = 32;
  struct ck_attribute template[] = {
      ATTRIBUTE(CKA_TOKEN, no),        ATTRIBUTE(CKA_VALUE_LEN, length), ATTRIBUTE(CKA_SENSITIVE, yes),
      ATTRIBUTE(CKA_EXTRACTABLE, yes), ATTRIBUTE(CKA_SIGN, yes),         ATTRIBUTE(CKA_MODIFIABLE, no),
      ATTRIBUTE(CKA_VERIFY, no),       ATTRIBUTE(CKA_ENCRYPT, no),       ATTRIBUTE(CKA_DECRYPT, no),
      ATTRIBUTE(CKA_WRAP, no),         ATTRIBUTE(CKA_UNWRAP, no),        ATTRIBUTE(CKA_DERIVE, no),
      ATTRIBUTE(CKA_WRAP_WITH_TRUSTED, yes)};
  struct ck_mechanism mechanism = {CKM_AES_KEY_GEN, NULL, 0};
  unsigned long attributes = sizeof template / sizeof *template;
  ck_object_handle_t key;
  CHECK(p11->C_GenerateKey(session, &mechanism, template, trusted ? attributes : attributes - 1, &key));
  return key;
}

static void sign(ck_mechanism_type_t type, ck_object_handle_t key, unsigned long length) {
  static unsigned char data[512];
  unsigned char signature[128];
  unsigned long size = sizeof signature;
  struct ck_mechanism mechanism = {type, NULL, 0};
  CHECK(p11->C_SignInit(session, &mechanism, key));
  CHECK(p11->C_Sign(session, data, length, signature, &size));
}

static void wrap(ck_object_handle_t recipient, ck_object_handle_t key) {
  struct ck_rsa_pkcs_oaep_params parameters = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
  struct ck_mechanism mechanism = {CKM_RSA_PKCS_OAEP, &parameters, sizeof parameters};
  unsigned char blob[1024];
  unsigned long size = sizeof blob;
  CHECK(p11->C_WrapKey(session, &mechanism, recipient, key, blob, &size));
}

static double lap(enum part part, double since) {
  double t = now();
  spent[part] += t - since;
  return t;
}

static void mint(const struct token *token) {
  double t = now();
  ck_object_handle_t key = generate(token->trusted);
  t = lap(GENERATE, t);
  for (int i = 0; i < token->count; i++) wrap(token->recipients[i], key);
  t = lap(WRAP, t);
  sign(CKM_AES_CMAC, key, 120);
  t = lap(COMMIT, t);
  CHECK(p11->C_DestroyObject(session, key));
  t = lap(DESTROY, t);
  sign(CKM_ECDSA, token->manifest, 32);
  t = lap(SIGN, t);
  sign(CKM_SHA256_HMAC, token->row_mac, 400);
  sign(CKM_SHA256_HMAC, token->row_mac, 400);
  lap(MAC, t);
}

static void report(long mints, double seconds, const struct token *token) {
  printf("{\"mints\": %ld, \"per_second\": %.1f, \"us\": %.1f, \"recipients\": %d, \"parts_us\": {",
         mints, (double)mints / seconds, seconds / (double)mints * 1e6, token->count);
  for (int i = 0; i < PARTS; i++)
    printf("%s\"%s\": %.1f", i ? ", " : "", part_names[i], spent[i] / (double)mints * 1e6);
  printf("}}\n");
}

int main(int count, char **argument) {
  if (count != 7) fail("usage", "rawloop MODULE TOKEN SERVER RELEASE SECONDS DEVICES");
  double seconds = atof(argument[5]);
  int devices = atoi(argument[6]);
  if (seconds <= 0 || devices < 0 || devices > MAX_RECIPIENTS - 3) fail("out of range", "SECONDS or DEVICES");
  load_module(argument[1]);
  log_in(find_slot(argument[2]));
  struct token token = resolve(argument[3], argument[4], devices);
  for (int i = 0; i < 20; i++) mint(&token);
  memset(spent, 0, sizeof spent);
  long mints = 0;
  double began = now(), end;
  do {
    mint(&token);
    mints++;
    end = now();
  } while (end - began < seconds);
  report(mints, end - began, &token);
  return p11->C_Finalize(NULL) != CKR_OK;
}
