"""Frozen graphs with the names of the TF Object Detection API, written operation by operation."""

import numpy as np
import tensorflow as tf

MOBILENET = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
# slim's inception_v2: of each module its branches as (convolution, channels, stride).
INCEPTION = {
    "Mixed_3b": (64, (64, 64), (64, 96), ("avg", 32)),
    "Mixed_3c": (64, (64, 96), (64, 96), ("avg", 64)),
    "Mixed_4a": ((128, 160), (64, 96)),
    "Mixed_4b": (224, (64, 96), (96, 128), ("avg", 128)),
    "Mixed_4c": (192, (96, 128), (96, 128), ("avg", 128)),
    "Mixed_4d": (160, (128, 160), (128, 160), ("avg", 96)),
    "Mixed_4e": (96, (128, 192), (160, 192), ("avg", 96)),
    "Mixed_5a": ((128, 192), (192, 256)),
    "Mixed_5b": (352, (192, 320), (160, 224), ("avg", 128)),
    "Mixed_5c": (352, (192, 320), (192, 224), ("max", 128)),
}

# The paper's tables 1 and 2: kernel, channels inside, channels, squeezes, hard swish, stride. From
# stride 32 on a detector has half the channels.
MOBILENET_V3 = {
    "large": (
        *((3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2)),
        *((5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2)),
        *((3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1)),
        *((3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 80, 1, 1, 2)),
        *((5, 480, 80, 1, 1, 1), (5, 480, 80, 1, 1, 1)),
    ),
    "small": (
        *((3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2)),
        *((5, 240, 40, 1, 1, 1), (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1)),
        *((5, 144, 48, 1, 1, 1), (5, 288, 48, 1, 1, 2), (5, 288, 48, 1, 1, 1)),
        (5, 288, 48, 1, 1, 1),
    ),
}
# Of channels inside a block, those that weigh them: a quarter, as a multiple of 8.
SQUEEZED = {16: 8, 72: 24, 96: 24, 120: 32, 144: 40, 240: 64, 288: 72, 480: 120, 672: 168}


def hard_swish(x):
    """As slim writes it."""
    return x * tf.nn.relu6(x + 3) * np.float32(1 / 6)


class Api:
    """A detector of the API that grows layer by layer, with random weights."""

    def __init__(self, size, width, min_depth, epsilon=1e-3, seed=0, lite=False):
        self.graph = tf.Graph()
        self.random = np.random.default_rng(seed)
        self.size, self.width, self.min_depth, self.epsilon = size, width, min_depth, epsilon
        self.lite = lite
        with self.graph.as_default():
            self.images = tf.compat.v1.placeholder(tf.float32, (1, size, size, 3), "image_tensor")
            stack = tf.constant([size, size], name="Preprocessor/map/while/ResizeImage/stack")
            del stack

    def depth(self, channels):
        return max(int(channels * self.width), self.min_depth)

    def constant(self, name, array):
        return tf.constant(np.asarray(array, "f4"), name=name)

    def weights(self, name, shape, fan_in):
        return self.constant(name, self.random.normal(0, np.sqrt(2 / fan_in), shape))

    def normalised(self, x, scope, activation=tf.nn.relu6):
        n = x.shape[-1]
        gamma = self.constant(f"{scope}/BatchNorm/gamma", self.random.uniform(0.5, 1.5, n))
        beta = self.constant(f"{scope}/BatchNorm/beta", self.random.normal(0, 0.3, n))
        mean = self.constant(f"{scope}/BatchNorm/moving_mean", self.random.normal(0, 0.3, n))
        variance = self.constant(
            f"{scope}/BatchNorm/moving_variance", self.random.uniform(0.5, 2, n)
        )
        x = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=False,
            name=f"{scope}/BatchNorm/FusedBatchNorm",
        ).y
        return activation(x)

    def conv(self, x, scope, channels, kernel, stride=1, activation=tf.nn.relu6):
        n = x.shape[-1]
        w = self.weights(f"{scope}/weights", (kernel, kernel, n, channels), kernel * kernel * n)
        return self.normalised(tf.nn.conv2d(x, w, stride, "SAME"), scope, activation)

    def depthwise(self, x, scope, stride, kernel=3, activation=tf.nn.relu6):
        shape = (kernel, kernel, x.shape[-1], 1)
        w = self.weights(f"{scope}/depthwise_weights", shape, kernel * kernel)
        x = tf.nn.depthwise_conv2d(x, w, (1, stride, stride, 1), "SAME")
        return self.normalised(x, scope, activation)

    def biased(self, x, scope, channels, kernel=1):
        """A convolution without batch norm."""
        n = kernel * kernel * x.shape[-1]
        w = self.weights(f"{scope}/weights", (kernel, kernel, x.shape[-1], channels), 10 * n)
        b = self.constant(f"{scope}/biases", self.random.normal(size=channels))
        return tf.nn.conv2d(x, w, 1, "SAME") + b

    def squeezed(self, x, scope, channels):
        """Each channel weighed by what the map holds; the sixth is slim's."""
        mean = tf.reduce_mean(x, (1, 2), keepdims=True)
        inner = tf.nn.relu(self.biased(mean, f"{scope}/squeeze_excite/Conv", channels))
        gate = self.biased(inner, f"{scope}/squeeze_excite/Conv_1", x.shape[-1])
        return x * (tf.nn.relu6(gate + 3) * 0.16667)

    def coarser(self, x, scope, channels):
        """Half the side, by a 3x3 convolution."""
        if not self.lite:
            return self.conv(x, scope, channels, 3, 2)
        return self.conv(self.depthwise(x, f"{scope}_depthwise", 2), scope, channels, 1)

    def finish(self, maps, last, classes, kernel):
        """Adds extra levels and predictors; returns the bytes of the frozen graph."""
        for i, channels in enumerate((512, 256, 256, 128), start=2):
            half, full = self.depth(channels // 2), self.depth(channels)
            x = self.conv(maps[-1], f"{last}_1_Conv2d_{i}_1x1_{half}", half, 1)
            maps.append(self.coarser(x, f"{last}_2_Conv2d_{i}_3x3_s2_{full}", full))
        found = {"BoxEncodingPredictor": [], "ClassPredictor": []}
        for level, x in enumerate(maps):
            for kind, values in (("BoxEncodingPredictor", 4), ("ClassPredictor", classes + 1)):
                scope, n = f"BoxPredictor_{level}/{kind}", (3 if level == 0 else 6) * values
                seen = self.depthwise(x, f"{scope}_depthwise", 1) if self.lite else x
                y = self.biased(seen, scope, n, kernel)
                found[kind].append(tf.reshape(y, (1, -1, values)))
        tf.concat(found["BoxEncodingPredictor"], 1, name="concat")
        logits = tf.concat(found["ClassPredictor"], 1, name="concat_1")
        tf.sigmoid(logits, name="Postprocessor/convert_scores")
        return self.graph.as_graph_def().SerializeToString()


def mobilenet_v1(size=128, width=0.25, min_depth=16, classes=3, kernel=1, epsilon=1e-3):
    """SSD with MobileNet v1."""
    api = Api(size, width, min_depth, epsilon)
    base = "FeatureExtractor/MobilenetV1"
    with api.graph.as_default():
        x = api.images * (2 / 255) - 1
        x = api.conv(x, f"{base}/Conv2d_0", api.depth(32), 3, 2)
        maps = []
        for i, (channels, stride) in enumerate(MOBILENET, start=1):
            x = api.depthwise(x, f"{base}/Conv2d_{i}_depthwise", stride)
            x = api.conv(x, f"{base}/Conv2d_{i}_pointwise", api.depth(channels), 1)
            if i in (11, 13):
                maps.append(x)
        return api.finish(maps, f"{base}/Conv2d_13_pointwise", classes, kernel)


def mobilenet_v3(kind, size=96, classes=3):
    """SSDLite with MobileNet v3, "large" or "small"."""
    api = Api(size, 1.0, 16, lite=True)
    base = "FeatureExtractor/MobilenetV3"
    with api.graph.as_default():
        x = api.conv(api.images * (2 / 255) - 1, f"{base}/Conv", 16, 3, 2, hard_swish)
        halved = 2
        for i, (kernel, inside, channels, squeezes, swish, stride) in enumerate(MOBILENET_V3[kind]):
            scope = f"{base}/expanded_conv{f'_{i}' if i else ''}"
            activation = hard_swish if swish else tf.nn.relu
            y = api.conv(x, f"{scope}/expand", inside, 1, 1, activation) if i else x
            halved *= stride
            if (halved, stride) == (32, 2):
                maps = [y]
            y = api.depthwise(y, f"{scope}/depthwise", stride, kernel, activation)
            if squeezes:
                y = api.squeezed(y, scope, SQUEEZED[inside])
            y = api.conv(y, f"{scope}/project", channels, 1, 1, tf.identity)
            x = x + y if x.shape == y.shape else y
        maps.append(api.conv(x, f"{base}/Conv_1", 6 * channels, 1, 1, hard_swish))
        last = {"large": "layer_17", "small": "layer_13"}[kind]
        return api.finish(maps, f"{base}/{last}", classes, 1)


def inception_v2(size=128, width=0.25, min_depth=16, classes=3, kernel=3):
    """SSD with Inception v2."""
    api = Api(size, width, min_depth)
    base = "FeatureExtractor/InceptionV2/InceptionV2"

    def chain(x, scope, *steps):
        for name, channels, kernel, stride in steps:
            x = api.conv(x, f"{scope}/{name}", api.depth(channels), kernel, stride)
        return x

    with api.graph.as_default():
        x = api.images * (2 / 255) - 1
        multiplier = min(api.depth(64) // 3, 8)
        scope = f"{base}/Conv2d_1a_7x7"
        depthwise = api.weights(f"{scope}/depthwise_weights", (7, 7, 3, multiplier), 49)
        n = 3 * multiplier
        pointwise = api.weights(f"{scope}/pointwise_weights", (1, 1, n, api.depth(64)), n)
        x = tf.nn.separable_conv2d(x, depthwise, pointwise, (1, 2, 2, 1), "SAME")
        x = tf.nn.max_pool2d(api.normalised(x, scope), 3, 2, "SAME")
        x = api.conv(x, f"{base}/Conv2d_2b_1x1", api.depth(64), 1)
        x = api.conv(x, f"{base}/Conv2d_2c_3x3", api.depth(192), 3)
        x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        maps = []
        for name, branches in INCEPTION.items():
            scopes = [f"{base}/{name}/Branch_{i}" for i in range(4)]
            if len(branches) == 2:
                (a, b), (c, d) = branches
                found = [
                    chain(x, scopes[0], ("Conv2d_0a_1x1", a, 1, 1), ("Conv2d_1a_3x3", b, 3, 2)),
                    chain(
                        x,
                        scopes[1],
                        ("Conv2d_0a_1x1", c, 1, 1),
                        ("Conv2d_0b_3x3", d, 3, 1),
                        ("Conv2d_1a_3x3", d, 3, 2),
                    ),
                    tf.nn.max_pool2d(x, 3, 2, "SAME"),
                ]
            else:
                single, (a, b), (c, d), (pool, projected) = branches
                pooling = tf.nn.avg_pool2d if pool == "avg" else tf.nn.max_pool2d
                found = [
                    chain(x, scopes[0], ("Conv2d_0a_1x1", single, 1, 1)),
                    chain(x, scopes[1], ("Conv2d_0a_1x1", a, 1, 1), ("Conv2d_0b_3x3", b, 3, 1)),
                    chain(
                        x,
                        scopes[2],
                        ("Conv2d_0a_1x1", c, 1, 1),
                        ("Conv2d_0b_3x3", d, 3, 1),
                        ("Conv2d_0c_3x3", d, 3, 1),
                    ),
                    chain(pooling(x, 3, 1, "SAME"), scopes[3], ("Conv2d_0b_1x1", projected, 1, 1)),
                ]
            x = tf.concat(found, axis=3, name="join")
            if name in ("Mixed_4c", "Mixed_5c"):
                maps.append(x)
        return api.finish(maps, "FeatureExtractor/InceptionV2/Mixed_5c", classes, kernel)


def run(data, images, names=("concat:0", "concat_1:0"), feed="image_tensor:0"):
    """What TensorFlow itself computes with a frozen graph."""
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(data)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        return session.run(list(names), {feed: images})
