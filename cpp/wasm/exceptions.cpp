// The runtime of C++ exceptions for WebAssembly, where the toolchain's libc++abi was built without them, as Debian's was. Linked to
// a module whose code is compiled with -fwasm-exceptions: the engine unwinds the stack, this says what is caught where.
//
// What the compiler expects: `throw` allocates, constructs and calls __cxa_throw. Where exceptions are caught it writes the number
// of the place and its table (LSDA: of the Itanium C++ ABI, with numbers instead of addresses) into __wasm_lpad_context, calls
// _Unwind_CallPersonality, and goes by the selector that this leaves: the index of the type that matched, 0 for none of them. Then
// __cxa_begin_catch and __cxa_end_catch stand around the handler. There is one thread.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <typeinfo>

namespace __cxxabiv1 {

// What libc++abi's type informations are made of: the tables of their virtual functions are in the library.
class __shim_type_info : public std::type_info {
 public:
  ~__shim_type_info() override;
  virtual void noop1() const;
  virtual void noop2() const;
  // Whether a handler of this type catches `thrown`; if so, `object` becomes what it is given.
  virtual bool can_catch(const __shim_type_info* thrown, void*& object) const = 0;
};

}  // namespace __cxxabiv1

namespace {

using TypeInfo = __cxxabiv1::__shim_type_info;

// Stands before every object that is thrown.
struct alignas(16) Header {
  const TypeInfo* type;
  void* (*destroy)(void*);
  void* caught_as;    // what a handler sees: a base within the object, or what a pointer that was thrown points to
  Header* beneath;    // caught before and still in its handler
  int handlers;       // that hold it
  bool thrown_again;  // by the innermost of them
};

Header* header_of(void* object) { return static_cast<Header*>(object) - 1; }

Header* caught = nullptr;  // the innermost

void release(Header* header) {
  if (header->destroy != nullptr) header->destroy(header + 1);
  std::free(header);
}

// Numbers of the tables: seven bits a byte, the lowest first.
std::uint32_t unsigned_number(const std::uint8_t*& at) {
  std::uint32_t value = 0;
  for (int shift = 0;; shift += 7) {
    const std::uint8_t byte = *at++;
    value |= static_cast<std::uint32_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
}

std::int32_t signed_number(const std::uint8_t*& at) {
  std::uint32_t value = 0;
  for (int shift = 0;;) {
    const std::uint8_t byte = *at++;
    value |= static_cast<std::uint32_t>(byte & 0x7F) << shift;
    shift += 7;
    if (byte >= 0x80) continue;
    if (shift < 32 && (byte & 0x40) != 0) value |= ~std::uint32_t{0} << shift;
    return static_cast<std::int32_t>(value);
  }
}

constexpr std::uint8_t kOmitted = 0xFF;

// Which of the types at place `number` of a table catches the object: its index there; 0: none.
std::int32_t handler(const std::uint8_t* table, std::uint32_t number, void* object) {
  if (*table++ != kOmitted) unsigned_number(table);  // where the landing pads begin: there are no addresses
  const TypeInfo* const* types = nullptr;            // they stand before this, the first one last
  if (*table++ != kOmitted) {
    const std::uint32_t distance = unsigned_number(table);
    types = reinterpret_cast<const TypeInfo* const*>(table + distance);
  }
  ++table;  // how numbers are written: always as above
  const std::uint32_t length = unsigned_number(table);
  const std::uint8_t* const actions = table + length;
  for (std::uint32_t place = 0; table < actions; ++place) {
    unsigned_number(table);
    const std::uint32_t first = unsigned_number(table);
    if (place != number) continue;
    if (first == 0) return 0;
    for (const std::uint8_t* action = actions + first - 1;;) {
      const std::int32_t index = signed_number(action);
      if (index > 0) {
        const TypeInfo* const type = types[-index];
        Header* const header = header_of(object);
        void* seen = object;
        // A null type is `catch (...)`.
        if (type == nullptr || type->can_catch(header->type, seen)) {
          header->caught_as = seen;
          return index;
        }
      }
      const std::uint8_t* const here = action;
      const std::int32_t next = signed_number(action);
      if (next == 0) return 0;
      action = here + next;
    }
  }
  return 0;
}

[[noreturn]] void no_memory() { throw std::bad_alloc(); }

}  // namespace

extern "C" {

struct {
  std::uint32_t place;
  const std::uint8_t* table;
  std::int32_t selector;
} __wasm_lpad_context;

int _Unwind_CallPersonality(void* object) {
  __wasm_lpad_context.selector = handler(__wasm_lpad_context.table, __wasm_lpad_context.place, object);
  return 0;
}

void* __cxa_allocate_exception(std::size_t size) noexcept {
  void* const block = std::calloc(1, sizeof(Header) + size);
  if (block == nullptr) std::terminate();
  return static_cast<Header*>(block) + 1;
}

void __cxa_free_exception(void* object) noexcept { std::free(header_of(object)); }

[[noreturn]] void __cxa_throw(void* object, std::type_info* type, void* (*destroy)(void*)) {
  Header* const header = header_of(object);
  header->type = static_cast<const TypeInfo*>(type);
  header->destroy = destroy;
  header->caught_as = object;
  __builtin_wasm_throw(0, object);
}

void* __cxa_begin_catch(void* object) noexcept {
  Header* const header = header_of(object);
  header->thrown_again = false;
  if (header->handlers++ == 0) {
    header->beneath = caught;
    caught = header;
  }
  return header->caught_as;
}

void __cxa_end_catch() {
  Header* const header = caught;
  if (header == nullptr || --header->handlers > 0) return;
  caught = header->beneath;
  if (!header->thrown_again) release(header);
}

[[noreturn]] void __cxa_rethrow() {
  if (caught == nullptr) std::terminate();
  caught->thrown_again = true;
  __builtin_wasm_throw(0, caught + 1);
}

void* __cxa_get_exception_ptr(void* object) noexcept { return header_of(object)->caught_as; }

}  // extern "C"

// The library's own would give null where there is no memory left.
void* operator new(std::size_t size) {
  if (void* const block = std::malloc(size > 0 ? size : 1)) return block;
  no_memory();
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }
