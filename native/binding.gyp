{
  "targets": [
    {
      "target_name": "stratafs",
      "sources": [
        "src/addon.cc",
        "src/files.cc",
        "src/xattr.cc",
        "src/data.cc",
        "src/mount.cc",
        "src/fuse.cc",
        "src/uring.cc",
        "src/watch.cc",
        "src/jobs.cc",
        "src/process.cc",
        "src/look.cc",
        "src/plan.cc",
        "src/heir.cc"
      ],
      "cflags": ["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"],
      "ldflags": ["-Wl,-z,now"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"]
    }
  ]
}
