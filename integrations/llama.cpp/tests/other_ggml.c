/* A program with a ggml that the backend does not know: of another version, or, linked without
 * -rdynamic, one that shows no functions. Exit status 0 when the backend stays out. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

const char *ggml_version(void) { return "0.0.1"; }
size_t ggml_tensor_overhead(void) { return 0; }
void *ggml_backend_dev_by_type(int type) { return type == 0 ? NULL : &"unused"; }
void *ggml_backend_buffer_init(void) { return NULL; }

int main(int count, char **words) {
  void *library = count > 1 ? dlopen(words[1], RTLD_NOW) : NULL;
  void *(*init)(void) = NULL;
  if (library == NULL || (*(void **)&init = dlsym(library, "ggml_backend_init")) == NULL) {
    fprintf(stderr, "other_ggml: %s\n",
            count > 1 ? dlerror() : "usage: other_ggml libggml-cubby.so");
    return 2;
  }
  return init() == NULL ? 0 : 1;
}
