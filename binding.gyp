# Not in the published package, where npm would compile at every `npm ci` what has a binding.gyp at its root.
{'includes': ['native/binding.gyp']}
