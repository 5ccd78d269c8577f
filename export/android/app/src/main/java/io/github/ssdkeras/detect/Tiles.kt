package io.github.ssdkeras.detect

import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/** What ssd_keras.json says of tiles, in "tiling". */
class Tiling(
    val height: Int,
    val width: Int,
    val overlap: Double,
    val whole: Boolean,
    val iouThreshold: Double,
    val smallerThreshold: Double,
    val margin: Double,
)

/** An object on a tile; [box] is top, left, bottom, right in pixels of the image. */
class OnTile(val tile: Int, val label: Int, val score: Float, val box: DoubleArray)

/**
 * Top, left, bottom and right of the tiles of an image, row by row, and last the whole image if that
 * is to be looked at as well.
 */
fun tilesOf(image: Size, tiling: Tiling): List<IntArray> {
    val rows = starts(image.height, tiling.height, tiling.overlap)
    val columns = starts(image.width, tiling.width, tiling.overlap)
    val high = min(image.height, tiling.height)
    val wide = min(image.width, tiling.width)
    val tiles = rows.flatMap { top ->
        columns.map { left -> intArrayOf(top, left, top + high, left + wide) }
    }
    if (!tiling.whole || tiles.size == 1) return tiles
    return tiles + intArrayOf(0, 0, image.height, image.width)
}

private fun starts(length: Int, side: Int, overlap: Double): List<Int> {
    if (length <= side) return listOf(0)
    val step = max(1, side - floor(overlap * side + 0.5).toInt())
    return (0 until length - side step step) + (length - side)
}

/**
 * Objects of the image from what was [found] on its [tiles], in their order: halves are joined, what
 * two tiles saw counts once. The same to the bit as the library's ssd_keras/boxes/merging.py.
 */
fun mergeTiles(
    tiles: List<IntArray>,
    found: List<OnTile>,
    tiling: Tiling,
    classAgnostic: Boolean,
): List<OnTile> = Merging(tiles, found, tiling, classAgnostic).objects()

private class Merging(
    private val tiles: List<IntArray>,
    private val found: List<OnTile>,
    private val tiling: Tiling,
    private val classAgnostic: Boolean,
) {
    private class Pair(val agreement: Double, val first: Int, val second: Int)

    private val cut = found.map { cutSides(it) }

    fun objects(): List<OnTile> = groups()
        .map { group -> group.sortedWith(compareBy({ -found[it].score }, { it })) }
        .sortedWith(compareBy({ -found[it[0]].score }, { it[0] }))
        .map { group ->
            val best = found[group[0]]
            // A box that was put together is of no tile.
            val tile = wholeOne(group)?.let { found[it].tile } ?: NO_TILE
            OnTile(tile, best.label, best.score, boxOf(group))
        }
        .let(::withoutDoubles)

    /** The objects, best first, that none before them of another tile stands for. */
    private fun withoutDoubles(objects: List<OnTile>): List<OnTile> {
        val kept = mutableListOf<OnTile>()
        objects.filterTo(kept) { one -> kept.none { isDouble(one, it) } }
        return kept
    }

    private fun isDouble(one: OnTile, other: OnTile): Boolean {
        if (!classAgnostic && one.label != other.label) return false
        if (one.tile != NO_TILE && one.tile == other.tile) return false
        val both = area(common(one.box, other.box))
        return both / (area(one.box) + area(other.box) - both) > tiling.iouThreshold
    }

    /** The best detection of an object that no edge cuts. */
    private fun wholeOne(group: List<Int>): Int? = group.firstOrNull { true !in cut[it].asList() }

    /** Which sides of a box lie at an edge of its tile that is none of the image. */
    private fun cutSides(one: OnTile) = BooleanArray(4) { side ->
        val tile = tiles[one.tile]
        val edge = one.box[side]
        val reach = max(1.0, tiling.margin * (tile[2 + side % 2] - tile[side % 2]))
        val outermost = if (side < 2) tiles.minOf { it[side] } else tiles.maxOf { it[side] }
        val beyond = if (side < 2) edge < tile[side] else edge > tile[side]
        (abs(edge - tile[side]) <= reach || beyond) && tile[side] != outermost
    }

    /** All that may be one object, those first that agree best on what both tiles show. */
    private fun pairs(): List<Pair> = buildList {
        val members = found.indices.groupBy { found[it].tile }
        for (one in tiles.indices) {
            for (other in one + 1 until tiles.size) {
                val shared = common(tiles[one].doubles(), tiles[other].doubles())
                if (area(shared) == 0.0) continue
                fun inside(tile: Int) =
                    members[tile].orEmpty().filter { area(common(found[it].box, shared)) > 0 }
                val columns = inside(other)
                for (a in inside(one)) {
                    for (b in columns) {
                        if (!classAgnostic && found[a].label != found[b].label) continue
                        agreement(a, b, shared)?.let { add(Pair(it, a, b)) }
                    }
                }
            }
        }
    }.sortedWith(compareBy({ -it.agreement }, { it.first }, { it.second }))

    /** How well two detections agree on what both tiles show; null if they are two objects. */
    private fun agreement(a: Int, b: Int, shared: DoubleArray): Double? {
        val first = found[a].box
        val second = found[b].box
        val both = area(common(first, second))
        val areaA = area(first)
        val areaB = area(second)
        val seenA = common(first, shared)
        val seenB = common(second, shared)
        val seen = area(common(seenA, seenB))
        val agreement = seen / (area(seenA) + area(seenB) - seen)
        val openA = isOpen(a, b)
        val openB = isOpen(b, a)
        val isPart = (if (areaA <= areaB) openA else openB) &&
            both / min(areaA, areaB) > tiling.smallerThreshold &&
            agreement > tiling.smallerThreshold / 2
        val areHalves = openA && openB && agreement > tiling.smallerThreshold
        val same = both / (areaA + areaB - both) > tiling.iouThreshold || isPart || areHalves
        return agreement.takeIf { same }
    }

    /** Whether a box is cut by an edge of its tile beyond which the other's tile goes on. */
    private fun isOpen(one: Int, other: Int): Boolean {
        val tile = tiles[found[one].tile]
        val beyond = tiles[found[other].tile]
        return (0..3).any { side ->
            val goesOn = if (side < 2) beyond[side] < tile[side] else beyond[side] > tile[side]
            cut[one][side] && goesOn
        }
    }

    /** The detections of each object; none has two of one tile. */
    private fun groups(): List<List<Int>> {
        val group = IntArray(found.size) { it }
        val members = found.indices.associateWith { mutableListOf(it) }.toMutableMap()
        val seenBy = found.map { mutableSetOf(it.tile) }
        for (pair in pairs()) {
            val one = min(group[pair.first], group[pair.second])
            val other = max(group[pair.first], group[pair.second])
            if (one == other || seenBy[one].any { it in seenBy[other] }) continue
            val moved = members.remove(other).orEmpty()
            moved.forEach { group[it] = one }
            members.getValue(one).addAll(moved)
            seenBy[one].addAll(seenBy[other])
        }
        return members.values.toList()
    }

    /** The box of an object: of its best detection that no edge cuts, or side by side. */
    private fun boxOf(group: List<Int>): DoubleArray {
        wholeOne(group)?.let { return found[it].box }
        return DoubleArray(4) { side ->
            val free = group.firstOrNull { !cut[it][side] }
            when {
                free != null -> found[free].box[side]
                side < 2 -> group.minOf { found[it].box[side] }
                else -> group.maxOf { found[it].box[side] }
            }
        }
    }
}

private const val NO_TILE = -1

private fun IntArray.doubles() = DoubleArray(size) { this[it].toDouble() }

/** What two boxes share; without area where that is nothing. */
private fun common(a: DoubleArray, b: DoubleArray) =
    DoubleArray(4) { if (it < 2) max(a[it], b[it]) else min(a[it], b[it]) }

private fun area(box: DoubleArray): Double =
    if (box[2] > box[0] && box[3] > box[1]) (box[2] - box[0]) * (box[3] - box[1]) else 0.0
