{
  'targets': [
    {
      'target_name': 'baseline',
      'sources': [
        'addon.cc',
        'channel.cc',
        'descriptors.cc',
        'hypercalls.cc',
        'migration.cc',
        'migration_binding.cc',
        'stats.cc',
        'table.cc',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=8', 'NAPI_DISABLE_CPP_EXCEPTIONS'],
      # What a C program gets from its distribution.
      'cflags!': ['-O3'],
      'cflags': ['-O2', '-fvisibility=hidden', '-Wall', '-Wextra', '-Werror'],
      'cflags_cc': ['-std=c++17', '-fno-exceptions'],
    },
  ],
}
