// What clap.cpp and the host of the checks use of CLAP's binary interface (version 1.2), written down for machines without its
// headers: the names are those of the headers, which are taken instead where a project has them. clap_layout.cpp compares the two.
#pragma once

#if !defined(AMP_OWN_CLAP) && __has_include(<clap/clap.h>)
#include <clap/clap.h>
#else

#include <cstdint>

#if !defined(CLAP_ABI)
#if defined(_WIN32)
#define CLAP_ABI __cdecl
#define CLAP_EXPORT __declspec(dllexport)
#else
#define CLAP_ABI
#define CLAP_EXPORT __attribute__((visibility("default")))
#endif
#endif

namespace clap_abi {

using clap_id = std::uint32_t;
using clap_process_status = std::int32_t;

// Texts: the factory that an entry is asked for, and what a plug-in or a host is asked for.
constexpr char CLAP_PLUGIN_FACTORY_ID[] = "clap.plugin-factory";
constexpr char CLAP_EXT_AUDIO_PORTS[] = "clap.audio-ports";
constexpr char CLAP_EXT_LATENCY[] = "clap.latency";
constexpr char CLAP_EXT_LOG[] = "clap.log";
constexpr char CLAP_EXT_PARAMS[] = "clap.params";
constexpr char CLAP_EXT_PRESET_LOAD[] = "clap.preset-load/2";
constexpr char CLAP_EXT_STATE[] = "clap.state";
constexpr char CLAP_PORT_MONO[] = "mono";
constexpr char CLAP_PORT_STEREO[] = "stereo";

constexpr clap_id CLAP_INVALID_ID = 0xFFFFFFFFU;
constexpr std::uint16_t CLAP_CORE_EVENT_SPACE_ID = 0;
enum { CLAP_NAME_SIZE = 256, CLAP_PATH_SIZE = 1024 };
enum { CLAP_PROCESS_ERROR = 0, CLAP_PROCESS_CONTINUE = 1 };
enum { CLAP_EVENT_PARAM_VALUE = 5 };
enum { CLAP_AUDIO_PORT_IS_MAIN = 1 };
enum { CLAP_PARAM_IS_STEPPED = 1, CLAP_PARAM_IS_BYPASS = 16, CLAP_PARAM_IS_AUTOMATABLE = 32 };
enum { CLAP_PRESET_DISCOVERY_LOCATION_FILE = 0 };
enum { CLAP_LOG_WARNING = 2 };

struct clap_version_t {
  std::uint32_t major, minor, revision;
};

// --- what happens within a block ---

struct clap_event_header_t {
  std::uint32_t size;  // of the whole event, in bytes
  std::uint32_t time;  // the frame of the block
  std::uint16_t space_id, type;
  std::uint32_t flags;
};

struct clap_event_param_value_t {
  clap_event_header_t header;
  clap_id param_id;
  void* cookie;
  std::int32_t note_id;
  std::int16_t port_index, channel, key;
  double value;
};

struct clap_input_events_t {
  void* ctx;
  std::uint32_t(CLAP_ABI* size)(const clap_input_events_t*);
  const clap_event_header_t*(CLAP_ABI* get)(const clap_input_events_t*, std::uint32_t index);
};

struct clap_output_events_t {
  void* ctx;
  bool(CLAP_ABI* try_push)(const clap_output_events_t*, const clap_event_header_t*);
};

struct clap_audio_buffer_t {
  float** data32;  // one of the two, an array a channel
  double** data64;
  std::uint32_t channel_count, latency;
  std::uint64_t constant_mask;
};

struct clap_event_transport_t;  // not read here

struct clap_process_t {
  std::int64_t steady_time;
  std::uint32_t frames_count;
  const clap_event_transport_t* transport;
  const clap_audio_buffer_t* audio_inputs;
  clap_audio_buffer_t* audio_outputs;
  std::uint32_t audio_inputs_count, audio_outputs_count;
  const clap_input_events_t* in_events;
  const clap_output_events_t* out_events;
};

// --- plug-in and host ---

struct clap_host_t {
  clap_version_t clap_version;
  void* host_data;
  const char *name, *vendor, *url, *version;
  const void*(CLAP_ABI* get_extension)(const clap_host_t*, const char* id);
  void(CLAP_ABI* request_restart)(const clap_host_t*);
  void(CLAP_ABI* request_process)(const clap_host_t*);
  void(CLAP_ABI* request_callback)(const clap_host_t*);
};

struct clap_plugin_descriptor_t {
  clap_version_t clap_version;
  const char *id, *name, *vendor, *url, *manual_url, *support_url, *version, *description;
  const char* const* features;  // up to a null
};

struct clap_plugin_t {
  const clap_plugin_descriptor_t* desc;
  void* plugin_data;
  bool(CLAP_ABI* init)(const clap_plugin_t*);
  void(CLAP_ABI* destroy)(const clap_plugin_t*);
  bool(CLAP_ABI* activate)(const clap_plugin_t*, double rate, std::uint32_t least_frames, std::uint32_t most_frames);
  void(CLAP_ABI* deactivate)(const clap_plugin_t*);
  bool(CLAP_ABI* start_processing)(const clap_plugin_t*);
  void(CLAP_ABI* stop_processing)(const clap_plugin_t*);
  void(CLAP_ABI* reset)(const clap_plugin_t*);
  clap_process_status(CLAP_ABI* process)(const clap_plugin_t*, const clap_process_t*);
  const void*(CLAP_ABI* get_extension)(const clap_plugin_t*, const char* id);
  void(CLAP_ABI* on_main_thread)(const clap_plugin_t*);
};

struct clap_plugin_factory_t {
  std::uint32_t(CLAP_ABI* get_plugin_count)(const clap_plugin_factory_t*);
  const clap_plugin_descriptor_t*(CLAP_ABI* get_plugin_descriptor)(const clap_plugin_factory_t*, std::uint32_t index);
  const clap_plugin_t*(CLAP_ABI* create_plugin)(const clap_plugin_factory_t*, const clap_host_t*, const char* id);
};

struct clap_plugin_entry_t {  // the one symbol that is exported: clap_entry
  clap_version_t clap_version;
  bool(CLAP_ABI* init)(const char* path);
  void(CLAP_ABI* deinit)();
  const void*(CLAP_ABI* get_factory)(const char* id);
};

// --- extensions ---

struct clap_audio_port_info_t {
  clap_id id;
  char name[CLAP_NAME_SIZE];
  std::uint32_t flags, channel_count;
  const char* port_type;
  clap_id in_place_pair;
};

struct clap_plugin_audio_ports_t {
  std::uint32_t(CLAP_ABI* count)(const clap_plugin_t*, bool is_input);
  bool(CLAP_ABI* get)(const clap_plugin_t*, std::uint32_t index, bool is_input, clap_audio_port_info_t*);
};

struct clap_param_info_t {
  clap_id id;
  std::uint32_t flags;
  void* cookie;
  char name[CLAP_NAME_SIZE];
  char module[CLAP_PATH_SIZE];
  double min_value, max_value, default_value;
};

struct clap_plugin_params_t {
  std::uint32_t(CLAP_ABI* count)(const clap_plugin_t*);
  bool(CLAP_ABI* get_info)(const clap_plugin_t*, std::uint32_t index, clap_param_info_t*);
  bool(CLAP_ABI* get_value)(const clap_plugin_t*, clap_id, double*);
  bool(CLAP_ABI* value_to_text)(const clap_plugin_t*, clap_id, double value, char* text, std::uint32_t size);
  bool(CLAP_ABI* text_to_value)(const clap_plugin_t*, clap_id, const char* text, double*);
  void(CLAP_ABI* flush)(const clap_plugin_t*, const clap_input_events_t*, const clap_output_events_t*);
};

struct clap_istream_t {
  void* ctx;
  std::int64_t(CLAP_ABI* read)(const clap_istream_t*, void*, std::uint64_t size);  // bytes, 0 at the end, negative for an error
};

struct clap_ostream_t {
  void* ctx;
  std::int64_t(CLAP_ABI* write)(const clap_ostream_t*, const void*, std::uint64_t size);  // perhaps fewer; negative for an error
};

struct clap_plugin_state_t {
  bool(CLAP_ABI* save)(const clap_plugin_t*, const clap_ostream_t*);
  bool(CLAP_ABI* load)(const clap_plugin_t*, const clap_istream_t*);
};

struct clap_plugin_latency_t {
  std::uint32_t(CLAP_ABI* get)(const clap_plugin_t*);
};
struct clap_host_latency_t {
  void(CLAP_ABI* changed)(const clap_host_t*);  // within activate only
};

struct clap_plugin_preset_load_t {
  bool(CLAP_ABI* from_location)(const clap_plugin_t*, std::uint32_t kind, const char* location, const char* key);
};
struct clap_host_preset_load_t {
  void(CLAP_ABI* on_error)(const clap_host_t*, std::uint32_t kind, const char* location, const char* key, std::int32_t os_error,
                           const char* message);
  void(CLAP_ABI* loaded)(const clap_host_t*, std::uint32_t kind, const char* location, const char* key);
};

struct clap_host_log_t {
  void(CLAP_ABI* log)(const clap_host_t*, std::int32_t severity, const char* message);
};

}  // namespace clap_abi

#if !defined(AMP_OWN_CLAP)
using namespace clap_abi;
#endif
#endif
