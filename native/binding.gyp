{
  'targets': [
    {
      'target_name': 'kvm_htab',
      'conditions': [
        # The KVM interface is Linux's; elsewhere there is nothing to build.
        ['OS!="linux"', {'type': 'none'}],
        ['sanitize==1', {
          'cflags': ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-O1', '-g'],
          'ldflags': ['-fsanitize=address,undefined'],
        }],
      ],
      'sources': [
        'addon.cc',
        'attach.cc',
        'descriptor.cc',
        'descriptor_io.cc',
        'descriptor_passing.cc',
        'kvm.cc',
        'read_memory.cc',
        'settle.cc',
        'tracer.cc',
      ],
      'defines': [
        'NAPI_VERSION=8',
        'NAPI_DISABLE_CPP_EXCEPTIONS',
        # A promise settled while its worker is being terminated must not abort the process.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      # Node's own flags beside these have warnings on, and exceptions and RTTI off.
      'cflags': ['-fvisibility=hidden'],
      'cflags_cc': [
        '-std=c++17',
        '-Wpedantic',
        '-Wshadow',
        '-Wconversion',
        '-Wsign-conversion',
        '-Wunused-parameter',
        # As a system's headers: their warnings are not shown.
        '-isystem', '<!(node -p "path.resolve(require(\'node-addon-api\').include_dir)")',
        '-isystem', '<(node_root_dir)/include/node',
      ],
      'ldflags': ['-Wl,-z,relro,-z,now'],
      # For scripts/sanitize.mjs: GYP_DEFINES=sanitize=1.
      'variables': {'sanitize%': 0},
    },
  ],
}
