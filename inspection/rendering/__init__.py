"""Spot welds on sheet metal as a body-shop camera sees them, with every truth about them known.

One height map in micrometres with everything written into it, lit once and photographed once:

==============  ==================================================================================
`catalogue`     the classes, their severity, their names in the standards, the limits
`noise`         textures that everything random is cut from
`materials`     steels, coatings, lamps and cameras, and which of them belong to which domain
`surface`       the layers of a piece of sheet: height, colour, what lies on it; edges, bends, holes
`imprint`       what an electrode leaves, and what can be wrong with it
`light`         a reflectance map, and the one shading pass
`optics`        lens, sensor, tone curve, JPEG
`weld`          one planned point: drawn, rendered, measured
`body`          whole views of a body side with its plan, and the same view with defects in it
==============  ==================================================================================

Everything is seeded; nothing here needs more than numpy and OpenCV.
"""
