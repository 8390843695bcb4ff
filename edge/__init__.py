"""One worker per camera: takes pictures on order, judges them, keeps results till they are safe."""
