package io.github.ssdkeras.detect

import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

/** What ssd_keras.json says of suppression. */
class Rule(
    val scoreThreshold: Float,
    val iouThreshold: Float,
    val maxDetections: Int,
    val maxPerClass: Int,
    val classAgnostic: Boolean,
)

/** A box of the raw outputs, by its number, with one of its classes. */
class Found(val box: Int, val label: Int, val score: Float)

/**
 * Codes dy, dx, dh, dw of a file of --postprocess=none -> ymin, xmin, ymax, xmax, four values a box.
 * [anchors] are the default boxes (centre y, centre x, height, width) of anchors.f32.
 */
fun decode(codes: FloatArray, anchors: FloatArray, variances: FloatArray): FloatArray {
    val corners = FloatArray(codes.size)
    for (box in codes.indices step 4) {
        for (axis in 0..1) {
            val side = anchors[box + 2 + axis]
            val middle = codes[box + axis] * variances[axis] * side + anchors[box + axis]
            val half = exp(codes[box + 2 + axis] * variances[2 + axis]) * 0.5f * side
            corners[box + axis] = middle - half
            corners[box + 2 + axis] = middle + half
        }
    }
    return corners
}

/**
 * The suppression that --postprocess=builtin has inside of the file: [corners] of A boxes, [scores]
 * of A boxes and C classes -> what is left, best first. Equal scores: first class, then first box.
 */
fun suppress(corners: FloatArray, scores: FloatArray, rule: Rule): List<Found> {
    val all = candidates(scores, scores.size / (corners.size / 4), rule)
    val groups = if (rule.classAgnostic) listOf(all) else all.groupBy { it.label }.values
    return groups
        .flatMap { survivors(corners, it.sortedWith(BETTER).take(rule.maxPerClass), rule) }
        .sortedWith(BETTER)
        .take(rule.maxDetections)
}

private val BETTER =
    compareByDescending<Found> { it.score }.thenBy { it.label }.thenBy { it.box }

/** Each box with each class, or with its best one, where the score is above the threshold. */
private fun candidates(scores: FloatArray, classes: Int, rule: Rule): List<Found> = buildList {
    for (box in 0 until scores.size / classes) {
        val labels = 0 until classes
        val looked = if (rule.classAgnostic) {
            listOf(labels.maxBy { scores[box * classes + it] })
        } else {
            labels
        }
        for (label in looked) {
            val score = scores[box * classes + label]
            if (score > rule.scoreThreshold) add(Found(box, label, score))
        }
    }
}

/** Those that no better one, which survives, overlaps by more than the threshold. */
private fun survivors(corners: FloatArray, group: List<Found>, rule: Rule): List<Found> {
    val kept = mutableListOf<Found>()
    for (one in group) {
        if (kept.all { iou(corners, one.box, it.box) <= rule.iouThreshold }) kept.add(one)
    }
    return kept
}

private fun iou(corners: FloatArray, a: Int, b: Int): Float {
    fun side(box: Int, axis: Int) = corners[4 * box + 2 + axis] - corners[4 * box + axis]
    fun shared(axis: Int) = max(
        0f,
        min(corners[4 * a + 2 + axis], corners[4 * b + 2 + axis]) -
            max(corners[4 * a + axis], corners[4 * b + axis]),
    )
    val both = shared(0) * shared(1)
    return both / (side(a, 0) * side(a, 1) + side(b, 0) * side(b, 1) - both)
}
