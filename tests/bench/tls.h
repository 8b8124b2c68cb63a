/* The few functions of OpenSSL 3 that the load generator calls, found at run time: Python brings
 * libssl.so.3 everywhere, its headers are often missing. Types stay opaque. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILETYPE_PEM = 1, VERIFY_PEER = 1, WANT_READ = 2, WANT_WRITE = 3 };

static struct {
  const void *(*client_method)(void);
  void *(*ctx_new)(const void *);
  int (*certificate)(void *, const char *);
  int (*private_key)(void *, const char *, int);
  int (*authorities)(void *, const char *, const char *);
  void (*verify)(void *, int, void *);
  void *(*new)(void *);
  void (*free)(void *);
  int (*set_fd)(void *, int);
  int (*connect)(void *);
  int (*read)(void *, void *, int);
  int (*write)(void *, const void *, int);
  int (*error)(const void *, int);
} tls;

static void *tls_context;

static void tls_symbol(void *library, const char *name, void *target) {
  *(void **)target = library ? dlsym(library, name) : NULL;
  if (*(void **)target) return;
  fprintf(stderr, "loadgen: libssl.so.3 with %s is needed for TLS\n", name);
  exit(1);
}

static void tls_resolve(void) {
  void *library = dlopen("libssl.so.3", RTLD_NOW);
  tls_symbol(library, "TLS_client_method", &tls.client_method);
  tls_symbol(library, "SSL_CTX_new", &tls.ctx_new);
  tls_symbol(library, "SSL_CTX_use_certificate_chain_file", &tls.certificate);
  tls_symbol(library, "SSL_CTX_use_PrivateKey_file", &tls.private_key);
  tls_symbol(library, "SSL_CTX_load_verify_locations", &tls.authorities);
  tls_symbol(library, "SSL_CTX_set_verify", &tls.verify);
  tls_symbol(library, "SSL_new", &tls.new);
  tls_symbol(library, "SSL_free", &tls.free);
  tls_symbol(library, "SSL_set_fd", &tls.set_fd);
  tls_symbol(library, "SSL_connect", &tls.connect);
  tls_symbol(library, "SSL_read", &tls.read);
  tls_symbol(library, "SSL_write", &tls.write);
  tls_symbol(library, "SSL_get_error", &tls.error);
}

static void tls_open(const char *certificate, const char *key, const char *authority) {
  tls_resolve();
  tls_context = tls.ctx_new(tls.client_method());
  if (!tls_context || tls.certificate(tls_context, certificate) != 1 ||
      tls.private_key(tls_context, key, FILETYPE_PEM) != 1 ||
      tls.authorities(tls_context, authority, NULL) != 1) {
    fprintf(stderr, "loadgen: the TLS certificate, key or authority is unusable\n");
    exit(1);
  }
  tls.verify(tls_context, VERIFY_PEER, NULL);
}
