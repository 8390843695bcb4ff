"""How labelled pictures lie on disk, one file each; the table is `LAYOUTS` in `data`."""
